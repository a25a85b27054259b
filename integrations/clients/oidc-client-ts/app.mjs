// Serves the page, which is the app: index.html, with its settings.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';

const { ISSUER, CLIENT_ID, REDIRECT_URI, POST_LOGOUT_REDIRECT_URI, SCOPE, API_URL, OTHER_API_URL, PORT } = process.env;
const settings = { ISSUER, CLIENT_ID, REDIRECT_URI, POST_LOGOUT_REDIRECT_URI, SCOPE, API_URL, OTHER_API_URL };
const file = (path) => readFile(new URL(path, import.meta.url), 'utf8');
const script = await file('./node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js');
const page = (await file('./index.html')).replace('SETTINGS', JSON.stringify(settings));

createServer((request, response) => {
  const isScript = request.url === '/oidc-client-ts.js';
  response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
  response.end(isScript ? script : page);
}).listen(Number(PORT));
