import { ExpressAuth, getSession } from '@auth/express';
import express from 'express';

const env = process.env;
const config = {
  secret: 'a random string of at least 32 characters',
  trustHost: true,
  providers: [
    {
      id: 'lanyard',
      name: 'Lanyard',
      type: 'oidc',
      issuer: env.ISSUER,
      clientId: env.CLIENT_ID,
      clientSecret: env.CLIENT_SECRET,
      authorization: { params: { scope: env.SCOPE } },
    },
  ],
  callbacks: {
    async jwt({ token, account, trigger }) {
      if (account) return { ...token, access_token: account.access_token, refresh_token: account.refresh_token };
      return trigger === 'update' ? { ...token, ...(await refresh(token.refresh_token)) } : token;
    },
    session: ({ session, token }) => ({ ...session, access_token: token.access_token }),
  },
};

// Auth.js does not refresh by itself: this is its guide "Refresh Token Rotation".
async function refresh(refresh_token) {
  const credentials = Buffer.from(`${env.CLIENT_ID}:${env.CLIENT_SECRET}`).toString('base64');
  const answer = await fetch(`${env.ISSUER}/oauth2/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${credentials}` },
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }),
  });
  const tokens = await answer.json();
  if (!answer.ok) throw new Error(tokens.error);
  return { access_token: tokens.access_token, refresh_token: tokens.refresh_token ?? refresh_token };
}

const app = express();
app.use('/auth/*', ExpressAuth(config));

app.get('/', async (request, response) => response.json((await getSession(request, config))?.user ?? {}));

async function callApi(url, request, response) {
  const { access_token } = await getSession(request, config);
  const answer = await fetch(url, { headers: { authorization: `Bearer ${access_token}` } });
  response.status(answer.status).send(await answer.text());
}
app.get('/api', (request, response) => callApi(env.API_URL, request, response));
app.get('/other-api', (request, response) => callApi(env.OTHER_API_URL, request, response));

// What `update()` of Auth.js does in the browser.
app.get('/refresh', (request, response) => {
  const csrfToken = /authjs\.csrf-token=([^%|;]+)/.exec(request.headers.cookie)?.[1];
  response.send(`<form method="POST" action="/auth/session">
    <input type="hidden" name="csrfToken" value="${csrfToken}"/><button>Refresh</button></form>`);
});

// Auth.js ends its own session only; /auth/signout leads here.
app.get('/signed-out', (_request, response) => {
  const url = new URL(`${env.ISSUER}/oauth2/logout`);
  url.searchParams.set('client_id', env.CLIENT_ID);
  url.searchParams.set('post_logout_redirect_uri', env.POST_LOGOUT_REDIRECT_URI);
  response.redirect(url.href);
});

app.listen(env.PORT);
