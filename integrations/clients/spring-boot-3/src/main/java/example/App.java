package example;

import static org.springframework.security.config.Customizer.withDefaults;

import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.time.Duration;
import org.springframework.beans.factory.annotation.Value;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.http.ResponseEntity;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.core.Authentication;
import org.springframework.security.core.annotation.AuthenticationPrincipal;
import org.springframework.security.oauth2.client.OAuth2AuthorizeRequest;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClient;
import org.springframework.security.oauth2.client.OAuth2AuthorizedClientProviderBuilder;
import org.springframework.security.oauth2.client.annotation.RegisteredOAuth2AuthorizedClient;
import org.springframework.security.oauth2.client.oidc.web.logout.OidcClientInitiatedLogoutSuccessHandler;
import org.springframework.security.oauth2.client.registration.ClientRegistrationRepository;
import org.springframework.security.oauth2.client.web.DefaultOAuth2AuthorizedClientManager;
import org.springframework.security.oauth2.client.web.OAuth2AuthorizedClientRepository;
import org.springframework.security.oauth2.core.oidc.user.OidcUser;
import org.springframework.security.web.SecurityFilterChain;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.client.RestClient;

@SpringBootApplication
@RestController
public class App {
  private final ClientRegistrationRepository registrations;
  private final OAuth2AuthorizedClientRepository clients;

  App(ClientRegistrationRepository registrations, OAuth2AuthorizedClientRepository clients) {
    this.registrations = registrations;
    this.clients = clients;
  }

  public static void main(String[] args) {
    SpringApplication.run(App.class, args);
  }

  @Bean
  SecurityFilterChain security(HttpSecurity http) throws Exception {
    var logoutSuccess = new OidcClientInitiatedLogoutSuccessHandler(registrations);
    logoutSuccess.setPostLogoutRedirectUri("{baseUrl}");
    return http
        .authorizeHttpRequests(requests -> requests.requestMatchers("/").permitAll().anyRequest().authenticated())
        .oauth2Login(withDefaults())
        .logout(logout -> logout.logoutSuccessHandler(logoutSuccess))
        .build();
  }

  @GetMapping("/")
  String claims(@AuthenticationPrincipal OidcUser user) {
    return user == null ? "" : user.getClaims().toString();
  }

  @GetMapping("/api")
  ResponseEntity<String> api(
      @RegisteredOAuth2AuthorizedClient("lanyard") OAuth2AuthorizedClient client, @Value("${API_URL}") String url) {
    return call(url, client);
  }

  @GetMapping("/other-api")
  ResponseEntity<String> otherApi(
      @RegisteredOAuth2AuthorizedClient("lanyard") OAuth2AuthorizedClient client, @Value("${OTHER_API_URL}") String url) {
    return call(url, client);
  }

  private static ResponseEntity<String> call(String url, OAuth2AuthorizedClient client) {
    return RestClient.create().get().uri(url)
        .headers(headers -> headers.setBearerAuth(client.getAccessToken().getTokenValue()))
        .exchange((request, answer) ->
            ResponseEntity.status(answer.getStatusCode()).body(new String(answer.getBody().readAllBytes())));
  }

  /** Spring refreshes by itself when the token has expired; with this clock skew it always has. */
  @GetMapping("/refresh")
  String refresh(Authentication user, HttpServletRequest request, HttpServletResponse response) {
    var manager = new DefaultOAuth2AuthorizedClientManager(registrations, clients);
    manager.setAuthorizedClientProvider(OAuth2AuthorizedClientProviderBuilder.builder()
        .refreshToken(refresh -> refresh.clockSkew(Duration.ofDays(1))).build());
    manager.authorize(OAuth2AuthorizeRequest.withClientRegistrationId("lanyard").principal(user)
        .attribute(HttpServletRequest.class.getName(), request)
        .attribute(HttpServletResponse.class.getName(), response).build());
    return "refreshed";
  }
}
