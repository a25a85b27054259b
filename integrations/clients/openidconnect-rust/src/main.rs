// As the documentation of openidconnect, "Authorization Code Grant w/ PKCE".
use anyhow::{anyhow, bail, Context, Result};
use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreIdToken, CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    reqwest, AccessToken, AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl,
    LogoutRequest, Nonce, OAuth2TokenResponse, PkceCodeChallenge, PkceCodeVerifier,
    PostLogoutRedirectUrl, ProviderMetadataWithLogout, RedirectUrl, RefreshToken, Scope,
    TokenResponse,
};
use std::collections::HashMap;
use tiny_http::{Header, Request, Response, Server};

struct Pending {
    verifier: PkceCodeVerifier,
    nonce: Nonce,
}

struct User {
    claims: CoreUserInfoClaims,
    id_token: CoreIdToken,
    access_token: AccessToken,
    refresh_token: Option<RefreshToken>,
}

type Answer = Response<std::io::Cursor<Vec<u8>>>;

fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

fn redirect(location: &str) -> Answer {
    Response::from_string("")
        .with_status_code(302)
        .with_header(header("Location", location))
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("a header")
}

fn session_of(request: &Request) -> String {
    let cookies = request
        .headers()
        .iter()
        .find(|header| header.field.equiv("Cookie"));
    let value = cookies.and_then(|header| header.value.as_str().split("session=").nth(1));
    value.unwrap_or_default().to_owned()
}

fn main() -> Result<()> {
    let http_client = reqwest::blocking::ClientBuilder::new()
        // Following redirects opens the client up to SSRF vulnerabilities.
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let metadata =
        ProviderMetadataWithLogout::discover(&IssuerUrl::new(env("ISSUER"))?, &http_client)?;
    let end_session_endpoint = metadata.additional_metadata().end_session_endpoint.clone();
    let client = CoreClient::from_provider_metadata(
        metadata,
        ClientId::new(env("CLIENT_ID")),
        Some(ClientSecret::new(env("CLIENT_SECRET"))),
    )
    .set_redirect_uri(RedirectUrl::new(env("REDIRECT_URI"))?);
    // by state, and by the value of the cookie `session`
    let mut pending: HashMap<String, Pending> = HashMap::new();
    let mut users: HashMap<String, User> = HashMap::new();

    let mut answer = |request: &Request| -> Result<Answer> {
        let url = reqwest::Url::parse(&env("APP_URL"))?.join(request.url())?;
        let query: HashMap<String, String> = url.query_pairs().into_owned().collect();
        let session = session_of(request);
        match url.path() {
            "/login" => {
                let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
                let (auth_url, state, nonce) = client
                    .authorize_url(
                        CoreAuthenticationFlow::AuthorizationCode,
                        CsrfToken::new_random,
                        Nonce::new_random,
                    )
                    // The library adds openid.
                    .add_scopes(
                        env("SCOPE")
                            .split(' ')
                            .skip(1)
                            .map(|scope| Scope::new(scope.to_owned())),
                    )
                    .set_pkce_challenge(challenge)
                    .url();
                let cookie = format!("session={}; Path=/; HttpOnly", state.secret());
                pending.insert(state.secret().clone(), Pending { verifier, nonce });
                Ok(redirect(auth_url.as_str()).with_header(header("Set-Cookie", &cookie)))
            }
            "/callback" => {
                if query.get("state") != Some(&session) {
                    bail!("state did not match");
                }
                let Pending { verifier, nonce } =
                    pending.remove(&session).context("no sign-in has begun")?;
                let code = query.get("code").context("no code")?;
                let tokens = client
                    .exchange_code(AuthorizationCode::new(code.clone()))?
                    .set_pkce_verifier(verifier)
                    .request(&http_client)?;
                let id_token = tokens
                    .id_token()
                    .context("Server did not return an ID token")?;
                let claims = id_token.claims(&client.id_token_verifier(), &nonce)?;
                let userinfo: CoreUserInfoClaims = client
                    .user_info(
                        tokens.access_token().to_owned(),
                        Some(claims.subject().clone()),
                    )?
                    .request(&http_client)
                    .map_err(|err| anyhow!("Failed requesting user info: {err}"))?;
                let user = User {
                    claims: userinfo,
                    id_token: id_token.clone(),
                    access_token: tokens.access_token().clone(),
                    refresh_token: tokens.refresh_token().cloned(),
                };
                users.insert(session, user);
                Ok(redirect("/"))
            }
            "/" => Ok(Response::from_string(match users.get(&session) {
                Some(user) => serde_json::to_string(&user.claims)?,
                None => "{}".to_owned(),
            })),
            "/api" | "/other-api" => {
                let user = users.get(&session).context("not signed in")?;
                let api = env(if url.path() == "/api" {
                    "API_URL"
                } else {
                    "OTHER_API_URL"
                });
                let answer = http_client
                    .get(api)
                    .bearer_auth(user.access_token.secret())
                    .send()?;
                let status = answer.status().as_u16();
                Ok(Response::from_string(answer.text()?).with_status_code(status))
            }
            "/refresh" => {
                let user = users.get_mut(&session).context("not signed in")?;
                let refresh_token = user.refresh_token.as_ref().context("no refresh token")?;
                let tokens: CoreTokenResponse = client
                    .exchange_refresh_token(refresh_token)?
                    .request(&http_client)?;
                user.access_token = tokens.access_token().clone();
                user.refresh_token = tokens
                    .refresh_token()
                    .cloned()
                    .or(user.refresh_token.take());
                Ok(Response::from_string("refreshed"))
            }
            "/logout" => {
                let user = users.remove(&session).context("not signed in")?;
                let endpoint = end_session_endpoint
                    .clone()
                    .context("no end_session_endpoint")?;
                let logout_url = LogoutRequest::from(endpoint)
                    .set_id_token_hint(&user.id_token)
                    .set_post_logout_redirect_uri(PostLogoutRedirectUrl::new(env(
                        "POST_LOGOUT_REDIRECT_URI",
                    ))?)
                    .http_get_url();
                Ok(redirect(logout_url.as_str()))
            }
            _ => Ok(Response::from_string("").with_status_code(404)),
        }
    };

    let server = Server::http(format!("localhost:{}", env("PORT"))).map_err(|err| anyhow!(err))?;
    for request in server.incoming_requests() {
        let response = answer(&request)
            .unwrap_or_else(|err| Response::from_string(format!("{err:#}")).with_status_code(500));
        request.respond(response)?;
    }
    Ok(())
}
