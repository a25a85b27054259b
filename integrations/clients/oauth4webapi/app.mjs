import express from 'express';
import session from 'express-session';
import * as oauth from 'oauth4webapi';

const env = process.env;
const issuer = new URL(env.ISSUER);
const options = { [oauth.allowInsecureRequests]: true }; // for an issuer without TLS, such as http://localhost
const as = await oauth
  .discoveryRequest(issuer, options)
  .then((response) => oauth.processDiscoveryResponse(issuer, response));
const client = { client_id: env.CLIENT_ID };
const clientAuth = oauth.ClientSecretPost(env.CLIENT_SECRET);

const app = express();
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }));

app.get('/login', async (request, response) => {
  const code_verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  request.session.pending = { code_verifier, state };
  const authorizationUrl = new URL(as.authorization_endpoint);
  authorizationUrl.searchParams.set('client_id', client.client_id);
  authorizationUrl.searchParams.set('redirect_uri', env.REDIRECT_URI);
  authorizationUrl.searchParams.set('response_type', 'code');
  authorizationUrl.searchParams.set('scope', env.SCOPE);
  authorizationUrl.searchParams.set('code_challenge', await oauth.calculatePKCECodeChallenge(code_verifier));
  authorizationUrl.searchParams.set('code_challenge_method', 'S256');
  authorizationUrl.searchParams.set('state', state);
  response.redirect(authorizationUrl.href);
});

app.get('/callback', async (request, response) => {
  const { code_verifier, state } = request.session.pending;
  const params = oauth.validateAuthResponse(as, client, new URL(request.originalUrl, env.APP_URL), state);
  const result = await oauth.processAuthorizationCodeResponse(
    as,
    client,
    await oauth.authorizationCodeGrantRequest(as, client, clientAuth, params, env.REDIRECT_URI, code_verifier, options),
    { requireIdToken: true },
  );
  const { sub } = oauth.getValidatedIdTokenClaims(result);
  const userInfo = await oauth.userInfoRequest(as, client, result.access_token, options);
  request.session.user = await oauth.processUserInfoResponse(as, client, sub, userInfo);
  request.session.tokens = result;
  response.redirect('/');
});

app.get('/', (request, response) => response.json(request.session.user ?? {}));

async function callApi(url, { session: { tokens } }, response) {
  const answer = await fetch(url, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  response.status(answer.status).send(await answer.text());
}
app.get('/api', (request, response) => callApi(env.API_URL, request, response));
app.get('/other-api', (request, response) => callApi(env.OTHER_API_URL, request, response));

app.get('/refresh', async (request, response) => {
  const { tokens } = request.session;
  const answer = await oauth.refreshTokenGrantRequest(as, client, clientAuth, tokens.refresh_token, options);
  request.session.tokens = { ...tokens, ...(await oauth.processRefreshTokenResponse(as, client, answer)) };
  response.send('refreshed');
});

app.get('/logout', (request, response) => {
  const endSessionUrl = new URL(as.end_session_endpoint);
  endSessionUrl.searchParams.set('id_token_hint', request.session.tokens.id_token);
  endSessionUrl.searchParams.set('post_logout_redirect_uri', env.POST_LOGOUT_REDIRECT_URI);
  request.session.destroy(() => response.redirect(endSessionUrl.href));
});

app.listen(env.PORT);
