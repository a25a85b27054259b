import { auth, UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import express from 'express';

const env = process.env;

/** The OAuthClientProvider that the SDK expects: a place for what it learns, and a way to the user's browser. */
const provider = {
  redirectUrl: env.REDIRECT_URI,
  clientMetadata: { redirect_uris: [env.REDIRECT_URI] },
  clientInformation: () => ({ client_id: env.CLIENT_ID, client_secret: env.CLIENT_SECRET }),
  tokens() {
    return this.savedTokens;
  },
  saveTokens(tokens) {
    this.savedTokens = tokens;
  },
  redirectToAuthorization(url) {
    this.authorizationUrl = url;
  },
  saveCodeVerifier(codeVerifier) {
    this.savedVerifier = codeVerifier;
  },
  codeVerifier() {
    return this.savedVerifier;
  },
};

async function callTool(url) {
  const client = new Client({ name: 'agent', version: '1.0.0' });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider: provider }));
  const { content } = await client.callTool({ name: 'whoami' });
  await client.close();
  return content[0].text;
}

const app = express();

app.get('/login', async (_request, response) => {
  await callTool(env.API_URL).catch((error) => {
    if (!(error instanceof UnauthorizedError)) throw error;
  });
  response.redirect(provider.authorizationUrl.href);
});

app.get('/callback', async (request, response) => {
  const transport = new StreamableHTTPClientTransport(new URL(env.API_URL), { authProvider: provider });
  await transport.finishAuth(request.query.code);
  response.redirect('/');
});

app.get('/', (_request, response) => response.send('An agent'));

async function callApi(url, response) {
  try {
    response.send(await callTool(url));
  } catch (error) {
    response.status(error.code ?? 500).send(error.message);
  }
}
app.get('/api', (_request, response) => callApi(env.API_URL, response));
app.get('/other-api', (_request, response) => callApi(env.OTHER_API_URL, response));

// The transport does this by itself when the server answers 401.
app.get('/refresh', async (_request, response) => response.send(await auth(provider, { serverUrl: env.API_URL })));

app.listen(env.PORT);
