import express from 'express';
import session from 'express-session';
import { generators, Issuer } from 'openid-client';

const env = process.env;
const issuer = await Issuer.discover(env.ISSUER);
const client = new issuer.Client({
  client_id: env.CLIENT_ID,
  client_secret: env.CLIENT_SECRET,
  redirect_uris: [env.REDIRECT_URI],
  response_types: ['code'],
});

const app = express();
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }));

app.get('/login', (request, response) => {
  const code_verifier = generators.codeVerifier();
  request.session.code_verifier = code_verifier;
  const code_challenge = generators.codeChallenge(code_verifier);
  response.redirect(client.authorizationUrl({ scope: env.SCOPE, code_challenge, code_challenge_method: 'S256' }));
});

app.get('/callback', async (request, response) => {
  const { code_verifier } = request.session;
  const tokenSet = await client.callback(env.REDIRECT_URI, client.callbackParams(request), { code_verifier });
  request.session.user = await client.userinfo(tokenSet.access_token);
  request.session.tokens = tokenSet;
  response.redirect('/');
});

app.get('/', (request, response) => response.json(request.session.user ?? {}));

async function callApi(url, { session: { tokens } }, response) {
  const answer = await client.requestResource(url, tokens.access_token);
  response.status(answer.statusCode).send(answer.body.toString());
}
app.get('/api', (request, response) => callApi(env.API_URL, request, response));
app.get('/other-api', (request, response) => callApi(env.OTHER_API_URL, request, response));

app.get('/refresh', async (request, response) => {
  const { tokens } = request.session;
  request.session.tokens = { ...tokens, ...(await client.refresh(tokens.refresh_token)) };
  response.send('refreshed');
});

app.get('/logout', (request, response) => {
  const url = client.endSessionUrl({
    id_token_hint: request.session.tokens.id_token,
    post_logout_redirect_uri: env.POST_LOGOUT_REDIRECT_URI,
  });
  request.session.destroy(() => response.redirect(url));
});

app.listen(env.PORT);
