// The app, and oauth2-proxy in front of it. The app sees what the proxy passes on in headers.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { setTimeout } from 'node:timers/promises';

const env = process.env;

async function call(url, request, response) {
  const headers = { authorization: `Bearer ${request.headers['x-forwarded-access-token']}` };
  const answer = await fetch(url, { headers });
  response.writeHead(answer.status).end(await answer.text());
}

const pages = {
  '/': (request, response) => call(`${env.ISSUER}/oauth2/userinfo`, request, response),
  '/api': (request, response) => call(env.API_URL, request, response),
  '/other-api': (request, response) => call(env.OTHER_API_URL, request, response),
  async '/refresh'(_request, response) {
    // Before it passes on a request the proxy refreshes, if the session is as old as --cookie-refresh.
    await setTimeout(2_000);
    response.end('the next request has another token');
  },
  '/logout'(_request, response) {
    const query = `id_token_hint={id_token}&post_logout_redirect_uri=${env.POST_LOGOUT_REDIRECT_URI}`;
    const target = encodeURIComponent(`${env.ISSUER}/oauth2/logout?${query}`);
    response.writeHead(302, { location: `/oauth2/sign_out?rd=${target}` }).end();
  },
};

const app = createServer((request, response) => {
  const page = pages[request.url] ?? (() => response.writeHead(404).end());
  page(request, response);
});
app.listen(0, '127.0.0.1', () => {
  const options = {
    provider: 'oidc',
    'provider-display-name': 'Lanyard',
    'client-id': env.CLIENT_ID,
    'client-secret': env.CLIENT_SECRET,
    'redirect-url': env.REDIRECT_URI,
    'oidc-issuer-url': env.ISSUER,
    scope: env.SCOPE,
    'code-challenge-method': 'S256',
    'email-domain': '*',
    'pass-access-token': true,
    'cookie-refresh': '1s',
    'cookie-secret': '0123456789abcdef0123456789abcdef',
    'cookie-secure': false, // for http
    'whitelist-domain': new URL(env.ISSUER).host, // for the redirect at the sign-out
    'http-address': `localhost:${env.PORT}`,
    upstream: `http://127.0.0.1:${app.address().port}/`,
  };
  const args = Object.entries(options).map(([name, value]) => `--${name}=${value}`);
  spawn(`${env.CACHE}/oauth2-proxy`, args, { stdio: 'inherit' }).on('exit', (code) => process.exit(code ?? 1));
});
