import express from 'express';
import session from 'express-session';
import * as client from 'openid-client';

const env = process.env;
const config = await client.discovery(new URL(env.ISSUER), env.CLIENT_ID, env.CLIENT_SECRET, undefined, {
  execute: [client.allowInsecureRequests], // for an issuer without TLS, such as http://localhost
});

const app = express();
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }));

app.get('/login', async (request, response) => {
  const codeVerifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  request.session.pending = { codeVerifier, state };
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: env.REDIRECT_URI,
    scope: env.SCOPE,
    code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
    code_challenge_method: 'S256',
    state,
  });
  response.redirect(url.href);
});

app.get('/callback', async (request, response) => {
  const { codeVerifier, state } = request.session.pending;
  const tokens = await client.authorizationCodeGrant(config, new URL(request.originalUrl, env.APP_URL), {
    pkceCodeVerifier: codeVerifier,
    expectedState: state,
    idTokenExpected: true,
  });
  const user = await client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub);
  request.session.user = user;
  request.session.tokens = tokens;
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
  request.session.tokens = { ...tokens, ...(await client.refreshTokenGrant(config, tokens.refresh_token)) };
  response.send('refreshed');
});

app.get('/logout', (request, response) => {
  const url = client.buildEndSessionUrl(config, {
    id_token_hint: request.session.tokens.id_token,
    post_logout_redirect_uri: env.POST_LOGOUT_REDIRECT_URI,
  });
  request.session.destroy(() => response.redirect(url.href));
});

app.listen(env.PORT);
