// An MCP server behind the guard, as docs/mcp.md shows it, and the unmodified client of the MCP
// SDK. The client knows the URL of the MCP server only: it discovers the authorization server,
// registers itself, signs its user in, and calls a tool. The test acts as the user. As the agents of today do, it
// registers a loopback address without application_type, and comes back at another port each time.

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type OAuthClientProvider, UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import type { OAuthClientInformationMixed, OAuthTokens } from '@modelcontextprotocol/sdk/shared/auth.js';
import express from 'express';
import { decodeJwt } from 'jose';
import { createGuard, expressGuard, expressResourceMetadata } from '../../src/guard/index.ts';
import type { TestClient } from '../support/admin.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { ALICE, clientToken } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, signInAndAllow } from '../support/user-agent.ts';

const REDIRECT_URI = 'http://localhost:54545/callback';
const NEXT_REDIRECT_URI = 'http://localhost:54546/callback';

let server: TestServer;
let mcp: Server;
let documents: DocumentHost;
let documentUrl: string;
let mcpUrl: URL;
/** the clients that the MCP server accepts */
let allowed: 'granted' | readonly string[] = 'granted';

beforeAll(async () => {
  documents = await startDocumentHost((_request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ client_id: documentUrl, ...METADATA }));
  });
  const { host } = documents;
  documentUrl = `https://${host}/agent.json`;
  server = await startTestServer({
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
  });
  mcp = createServer();
  await new Promise<void>((resolve) => mcp.listen(0, '127.0.0.1', resolve));
  mcpUrl = new URL(`http://127.0.0.1:${(mcp.address() as AddressInfo).port}/mcp`);
  const introspection = await server.admin.createClient();
  await server.admin.createApi(mcpUrl.href, {
    name: 'Orders for agents',
    scopes: ['tools:call'],
    introspection_client_id: introspection.clientId,
    self_registered_clients: { scopes: ['tools:call'] },
  });
  await server.admin.createUser(ALICE.username, ALICE.password);
  mcp.on('request', ordersServer(server.issuer, introspection));
});
afterAll(async () => {
  documents.close();
  mcp.closeAllConnections();
  mcp.close();
  await server.stop();
});

/** The server of docs/mcp.md. */
function ordersServer(issuer: string, introspection: TestClient): express.Express {
  const guardFor = (clients: 'granted' | readonly string[]) =>
    createGuard({
      issuer,
      audience: mcpUrl.href,
      clients,
      scopes: ['tools:call'],
      mode: 'introspection',
      introspection,
      metadata: { name: 'Orders for agents' },
    });
  const guard = guardFor('granted');
  const app = express();
  app.use(expressResourceMetadata(guard));
  const guarded: express.RequestHandler = (request, response, next) =>
    expressGuard(allowed === 'granted' ? guard : guardFor(allowed))(request as never, response, next);
  app.post('/mcp', guarded, express.json(), async (request, response) => {
    const orders = new McpServer({ name: 'orders', version: '1.0.0' });
    const { principal } = request as unknown as { principal: { clientId: string; subject: string } };
    orders.registerTool('whoami', { description: 'Who is calling' }, () => ({
      content: [{ type: 'text', text: `${principal.subject} through ${principal.clientId}` }],
    }));
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    response.on('close', () => void orders.close());
    await orders.connect(transport as never);
    await transport.handleRequest(request, response, request.body);
  });
  return app;
}

const METADATA = {
  client_name: 'Agent',
  redirect_uris: [REDIRECT_URI],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
};

interface Agent extends OAuthClientProvider {
  redirectUrl: string;
  authorizationUrl?: URL;
  information?: OAuthClientInformationMixed;
  issued?: OAuthTokens;
}

/** The storage and the browser that the MCP SDK expects of an app. */
function createAgent(clientMetadataUrl?: string): Agent {
  let verifier = '';
  return {
    redirectUrl: REDIRECT_URI,
    clientMetadata: METADATA,
    ...(clientMetadataUrl === undefined ? {} : { clientMetadataUrl }),
    clientInformation() {
      return this.information;
    },
    saveClientInformation(information) {
      this.information = information;
    },
    tokens() {
      return this.issued;
    },
    saveTokens(tokens) {
      this.issued = tokens;
    },
    redirectToAuthorization(url) {
      this.authorizationUrl = url;
    },
    saveCodeVerifier(value) {
      verifier = value;
    },
    codeVerifier: () => verifier,
  };
}

async function callTool(agent: Agent): Promise<string> {
  const first = new StreamableHTTPClientTransport(mcpUrl, { authProvider: agent });
  const client = new Client({ name: 'agent', version: '1.0.0' });
  await expect(client.connect(first as never)).rejects.toThrow(UnauthorizedError);
  const back = await signInAndAllow(createUserAgent(server.issuer), (agent.authorizationUrl as URL).href, ALICE);
  expect(`${back.origin}${back.pathname}`).toBe(agent.redirectUrl);
  await first.finishAuth(back.searchParams.get('code') as string);
  const again = new StreamableHTTPClientTransport(mcpUrl, { authProvider: agent });
  await client.connect(again as never);
  const { content } = (await client.callTool({ name: 'whoami' })) as { content: { text: string }[] };
  await client.close();
  return content[0]?.text ?? '';
}

describe.each([
  ['dynamic registration', () => createAgent(), () => /^[0-9a-f]{32}$/],
  ['a client ID metadata document', () => createAgent(documentUrl), () => documentUrl],
] as const)('the client of the SDK, with %s', (_name, create, expectedId) => {
  test('calls a tool, given the URL of the MCP server only', async () => {
    const agent = create();
    const text = await callTool(agent);
    const claims = decodeJwt((agent.issued as OAuthTokens).access_token);
    expect(claims).toMatchObject({ aud: mcpUrl.href, azp: agent.information?.client_id, scope: 'tools:call' });
    expect(text).toBe(`${claims.sub} through ${agent.information?.client_id}`);
    expect(agent.information?.client_id).toEqual(expect.stringMatching(expectedId()));
    expect(agent.authorizationUrl?.searchParams.get('resource')).toBe(mcpUrl.href);
    expect(agent.authorizationUrl?.searchParams.get('code_challenge_method')).toBe('S256');
  });

  test('calls it again with the same registration, when it has got another port', async () => {
    const agent = create();
    const first = await callTool(agent);
    const { client_id: clientId } = agent.information as OAuthClientInformationMixed;
    delete agent.issued;
    agent.redirectUrl = NEXT_REDIRECT_URI;
    expect(await callTool(agent)).toBe(first);
    expect(agent.information?.client_id).toBe(clientId);
    const { body } = await server.admin.request('GET', `/clients/${encodeURIComponent(clientId)}`);
    expect(body).toMatchObject({ application_type: 'web', redirect_uris: [REDIRECT_URI] });
  });
});

async function post(token: string | undefined): Promise<Response> {
  return fetch(mcpUrl, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  });
}

test('without a token: 401, with the URL of the metadata', async () => {
  const response = await post(undefined);
  expect(response.status).toBe(401);
  expect(response.headers.get('www-authenticate')).toContain(
    `resource_metadata="${mcpUrl.origin}/.well-known/oauth-protected-resource/mcp"`,
  );
});

test('a token of another client is 403 where the MCP server has an allow-list', async () => {
  const other = await server.admin.createClient();
  await server.admin.allow(other.clientId, mcpUrl.href, ['tools:call']);
  const token = await clientToken(server, other, { resource: mcpUrl.href });
  expect((await post(token)).status).toBe(200);
  allowed = ['another agent'];
  const refused = await post(token);
  allowed = [other.clientId];
  const accepted = await post(token);
  allowed = 'granted';
  expect([refused.status, accepted.status]).toEqual([403, 200]);
  expect(await refused.json()).toMatchObject({ error: 'client_not_allowed' });
});

test('a token for another API, and one of a client that has lost its grant, are 401', async () => {
  const other = await server.admin.createClient();
  await server.admin.createApi('https://other.example', { scopes: ['tools:call'] });
  await server.admin.allow(other.clientId, 'https://other.example', ['tools:call']);
  expect((await post(await clientToken(server, other, { resource: 'https://other.example' }))).status).toBe(401);
  await server.admin.allow(other.clientId, mcpUrl.href, ['tools:call']);
  const token = await clientToken(server, other, { resource: mcpUrl.href });
  const path = `/resource-servers/${encodeURIComponent(mcpUrl.href)}/clients/${other.clientId}`;
  await server.admin.request('DELETE', path);
  expect((await post(token)).status).toBe(401);
});
