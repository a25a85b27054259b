// Keycloak, which signs its users in at Lanyard, and an app that signs its users in at Keycloak. Both at one origin, as behind a
// reverse proxy.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import express from 'express';
import session from 'express-session';
import * as client from 'openid-client';

const env = process.env;
const home = `${env.CACHE}/keycloak-26.7.3`;
const issuer = `${env.APP_URL}/realms/demo`;

const probe = createServer().listen(0);
await once(probe, 'listening');
const { port } = probe.address();
probe.close();

cpSync('realm.json', `${home}/data/import/realm.json`);
const options = ['--import-realm', `--http-port=${port}`, '--http-enabled=true', `--hostname=${env.APP_URL}`];
const keycloak = spawn(`${home}/bin/kc.sh`, ['start', '--optimized', ...options], { stdio: 'inherit' });
keycloak.on('exit', (code) => process.exit(code ?? 1));

const app = express();
app.use(['/realms', '/resources'], (request, response) => {
  const { method, headers, originalUrl: path } = request;
  const onward = httpRequest({ host: 'localhost', port, method, path, headers }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.status(502).end());
  request.pipe(onward);
});
app.use(session({ secret: 'keyboard cat', resave: false, saveUninitialized: false }));

/** Waits for Keycloak, which takes its time to start. */
async function discover() {
  const isReady = () =>
    fetch(`http://localhost:${port}/realms/demo`).then(
      ({ ok }) => ok,
      () => false,
    );
  while (!(await isReady())) await setTimeout(500);
  return client.discovery(new URL(issuer), 'app', undefined, client.None(), {
    execute: [client.allowInsecureRequests], // for an issuer without TLS, such as http://localhost
  });
}
const discovered = discover();

app.get('/login', async (request, response) => {
  const config = await discovered;
  const codeVerifier = client.randomPKCECodeVerifier();
  const state = client.randomState();
  request.session.pending = { codeVerifier, state };
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: `${env.APP_URL}/callback`,
    scope: 'openid',
    code_challenge: await client.calculatePKCECodeChallenge(codeVerifier),
    code_challenge_method: 'S256',
    state,
    kc_idp_hint: 'lanyard', // else Keycloak's own login page, with a link to Lanyard
  });
  response.redirect(url.href);
});

app.get('/callback', async (request, response) => {
  const { codeVerifier, state } = request.session.pending;
  request.session.tokens = await client.authorizationCodeGrant(
    await discovered,
    new URL(request.originalUrl, env.APP_URL),
    {
      pkceCodeVerifier: codeVerifier,
      expectedState: state,
    },
  );
  request.session.user = request.session.tokens.claims();
  response.redirect('/');
});

app.get('/', (request, response) => response.json(request.session.user ?? {}));

/** Keycloak stores Lanyard's tokens, refreshes them, and passes on the access token. */
async function lanyardToken({ session: { tokens } }) {
  const headers = { authorization: `Bearer ${tokens.access_token}` };
  const answer = await fetch(`${issuer}/broker/lanyard/token`, { headers });
  if (!answer.ok) throw new Error(await answer.text());
  return (await answer.json()).access_token;
}

async function callApi(url, request, response) {
  const headers = { authorization: `Bearer ${await lanyardToken(request)}` };
  const answer = await fetch(url, { headers });
  response.status(answer.status).send(await answer.text());
}
app.get('/api', (request, response) => callApi(env.API_URL, request, response));
app.get('/other-api', (request, response) => callApi(env.OTHER_API_URL, request, response));
app.get('/refresh', async (request, response) => {
  await lanyardToken(request);
  response.send('refreshed');
});

app.get('/logout', async (request, response) => {
  const url = client.buildEndSessionUrl(await discovered, {
    id_token_hint: request.session.tokens.id_token,
    post_logout_redirect_uri: `${env.APP_URL}/`,
  });
  request.session.destroy(() => response.redirect(url.href));
});

app.listen(env.PORT);
