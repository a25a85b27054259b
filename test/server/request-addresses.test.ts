// To which server a request was sent, and by whom: judged once, from its target, its Host and what trusted proxies say. An attacker
// who could choose it would put an address of his own into the discovery document, into the form of the logout page, and into what
// assertions and proofs of possession are checked against.

import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { DEVICE_GRANT } from '../support/device.ts';
import { ALICE, authorizationUrl, CODE_FLOW, obtainTokens, PUBLIC, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, dpopProof, newSigner } from '../support/signing.ts';
import { createUserAgent, pkcePair } from '../support/user-agent.ts';

const JWKS = '/oauth2/jwks';
const DISCOVERY = '/.well-known/openid-configuration';

interface RawAnswer {
  readonly status: number;
  readonly body: string;
}

/** @param head request line and headers, without the empty line; as latin1 */
function sendRaw(server: TestServer, head: readonly string[], body = ''): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const length = body === '' ? [] : [`Content-Length: ${body.length}`];
    const request = [...head, ...length, 'Connection: close', '', body].join('\r\n');
    const { port } = server.config;
    const socket = connect({ host: '127.0.0.1', port }, () => socket.write(Buffer.from(request, 'latin1')));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', reject);
    socket.on('close', () => {
      const text = Buffer.concat(chunks).toString('latin1');
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1] ?? 0);
      resolve({ status, body: text.slice(text.indexOf('\r\n\r\n') + 4) });
    });
  });
}

describe('a server with the issuer https://id.example.com, behind proxies', () => {
  let server: TestServer;

  beforeAll(async () => {
    server = await startTestServer({
      LANYARD_ISSUER: 'https://id.example.com',
      LANYARD_TRUST_PROXY: '127.0.0.1, 10.0.0.0/8',
      LANYARD_CLIENT_CERTIFICATE_HEADER: 'x-client-certificate',
      LANYARD_MTLS_ORIGIN: 'https://mtls.example.com',
    });
  });
  afterAll(() => server.stop());

  const get = (target: string, ...headers: string[]) => sendRaw(server, [`GET ${target} HTTP/1.1`, ...headers]);

  /** From memory, by the engine, by our own app. */
  async function statuses(...headers: string[]): Promise<number[]> {
    const paths = [JWKS, `${DISCOVERY}?by=engine`, '/admin/v1/openapi.json'];
    return Promise.all(paths.map(async (path) => (await get(path, ...headers)).status));
  }

  test.each([
    ['id.example.com', 200],
    ['id.example.com:443', 200],
    ['id.example.com:0443', 200],
    ['id.example.com:', 200],
    ['ID.Example.COM', 200],
    ['mtls.example.com:443', 200],
    ['id.example.com:80', 421],
    ['id.example.com:8443', 421],
    ['id.example.com:99999', 421],
    ['id.example.com.', 421],
    ['evil.example', 421],
    ['[::1]', 421],
    ['', 421],
    ['user@id.example.com', 400],
    ['id.example.com/evil', 400],
    ['id.example.com:4x3', 400],
    ['id.example.com, evil.example', 400],
    ['id.example.com evil', 400],
    ['[::bad', 400],
    ['[::x]', 400],
    ['[id.example.com]', 400],
    ['https://id.example.com', 400],
    ['id.exämple.com', 400],
    ['id.example.com%', 400],
  ])('Host: %s gets %i (RFC 9110 §4.2.3, RFC 9112 §3.2)', async (host, expected) => {
    expect(await statuses(`Host: ${host}`)).toEqual([expected, expected, expected]);
  });

  test('no Host, or two of them, is a bad request, which is said and logged (RFC 9112 §3.2)', async () => {
    const own = 'Host: id.example.com';
    for (const headers of [[], [own, own], [own, 'host: evil.example'], ['HOST: evil.example', own]]) {
      expect([headers, await statuses(...headers)]).toEqual([headers, [400, 400, 400]]);
    }
    const from = server.logLines.length;
    const { body } = await get('/oauth2/token', own, own);
    expect(JSON.parse(body)).toMatchObject({
      code: 'malformed_request',
      detail: 'the request has several Host headers',
    });
    expect(server.logLines.slice(from).join()).toContain(JSON.parse(body).request_id);
    // HTTP/1.0 did not have it.
    expect((await sendRaw(server, [`GET ${JWKS} HTTP/1.0`])).status).toBe(421);
    expect((await sendRaw(server, ['GET /health/live HTTP/1.0'])).status).toBe(200);
  });

  test('a health check may be for any host, but none that is not one', async () => {
    for (const [host, expected] of [
      ['192.0.2.1:3000', 200],
      ['lanyard_backend', 200],
      ['[2001:db8::1]:3000', 200],
      ['', 200],
      ['a b', 400],
    ]) {
      const answers = await Promise.all(['/health/live', '/health/ready'].map((path) => get(path, `Host: ${host}`)));
      expect([host, ...answers.map(({ status }) => status)]).toEqual([host, expected, expected]);
    }
  });

  test.each([
    ['https://id.example.com', 'evil.example', 200],
    ['HTTPS://ID.example.com:443', 'evil.example', 200],
    ['https://mtls.example.com', 'id.example.com', 200],
    ['https://evil.example', 'id.example.com', 421],
    ['https://evil.example', 'evil.example', 421],
    ['https://id.example.com.evil.example', 'id.example.com', 421],
    ['https://id.example.com:8443', 'id.example.com', 421],
    ['http://id.example.com', 'id.example.com', 421],
    ['https://id.example.com', 'a b', 400],
    ['https://user@id.example.com', 'id.example.com', 400],
    ['https://user:secret@id.example.com', 'id.example.com', 400],
    ['https://id.example.com@evil.example', 'id.example.com', 400],
    ['https://', 'id.example.com', 400],
    ['https://[::bad', 'id.example.com', 400],
    ['ftp://id.example.com', 'id.example.com', 400],
  ])('the target %s/… with Host: %s gets %i (RFC 9112 §3.2.2)', async (prefix, host, expected) => {
    for (const path of [JWKS, `${DISCOVERY}?by=engine`, '/admin/v1/openapi.json']) {
      const { status } = await get(prefix + path, `Host: ${host}`);
      expect([path, status]).toEqual([path, expected]);
    }
  });

  test('the host of a target is not made good by a proxy that names ours', async () => {
    const headers = ['Host: id.example.com', 'X-Forwarded-Host: id.example.com', 'X-Forwarded-Proto: https'];
    expect((await get(`https://evil.example${JWKS}`, ...headers)).status).toBe(421);
    expect((await get(`https://id.example.com${JWKS}`, ...headers)).status).toBe(200);
  });

  test.each(['CONNECT id.example.com:443', 'CONNECT evil.example:443', `CONNECT ${JWKS}`, 'GET id.example.com:443'])(
    '%s is a bad request: this server is no proxy (RFC 9112 §3.2.3)',
    async (line) => {
      const { status, body } = await sendRaw(server, [`${line} HTTP/1.1`, 'Host: id.example.com']);
      expect(status).toBe(400);
      // Node itself refuses the others.
      if (line.startsWith('CONNECT id')) expect(JSON.parse(body)).toMatchObject({ code: 'malformed_request' });
    },
  );

  test.each(['#x', '?a=b#x', '?a=ä', '/ä', '\u00a0', '*'])(
    'a target that ends with %j is a bad request',
    async (end) => {
      const target = end === '*' ? end : JWKS + end;
      expect((await get(target, 'Host: id.example.com')).status).toBe(400);
    },
  );

  test.each([
    ['the only proxy names the host', 'id.example.com', undefined, 200],
    ['the only proxy names another host', 'evil.example', undefined, 421],
    ['the port of https is named', 'id.example.com:443', undefined, 200],
    ['a client begins the list', 'evil.example, id.example.com', '203.0.113.7', 200],
    ['a client begins the list with us', 'id.example.com, evil.example', '203.0.113.7', 421],
    ['both of two proxies add to it', 'id.example.com, inner.example', '203.0.113.7, 10.0.0.9', 200],
    [
      'a client begins it, and two proxies add',
      'evil.example, id.example.com, inner.example',
      '203.0.113.7, 10.0.0.9',
      200,
    ],
    ['a client adds a proxy and a host', 'id.example.com, evil.example', '10.0.0.1, 203.0.113.7', 421],
    ['the inner of two proxies replaces the list', 'id.example.com', '203.0.113.7, 10.0.0.9', 200],
    ['there are empty entries', ', id.example.com,', '203.0.113.7', 200],
    ['the list is empty, so that Host counts', '', '203.0.113.7', 421],
  ])('X-Forwarded-Host: %s', async (_what, hosts, addresses, expected) => {
    const headers = [
      'Host: inner.example',
      `X-Forwarded-Host: ${hosts}`,
      ...(addresses === undefined ? [] : [`X-Forwarded-For: ${addresses}`]),
    ];
    expect(await statuses(...headers)).toEqual([expected, expected, expected]);
  });

  test('whatever proxies say of scheme, host and port, every address is at the issuer', async () => {
    const expected = JSON.parse((await get(DISCOVERY, 'Host: id.example.com')).body);
    for (const headers of [
      ['Host: id.example.com', 'X-Forwarded-Proto: http'],
      ['Host: ID.example.com:443', 'X-Forwarded-Proto: https, http', 'X-Forwarded-Port: 8080'],
      ['Host: mtls.example.com', 'X-Forwarded-Proto: gopher', 'Forwarded: host=evil.example;proto=http'],
      ['Host: evil.example', 'X-Forwarded-Host: evil.example, id.example.com', 'X-Forwarded-Server: evil.example'],
    ]) {
      expect(JSON.parse((await get(`${DISCOVERY}?by=engine`, ...headers)).body)).toEqual(expected);
    }
    const own = Object.entries(expected).filter(([name]) => /_endpoint$|_uri$/.test(name));
    expect(own.length).toBeGreaterThan(8);
    for (const [, url] of own) expect(url).toMatch(/^https:\/\/id\.example\.com\//);
  });
});

describe('without a proxy, an attacker who names a host of his own', () => {
  const EVIL = 'http://evil.example';
  let server: TestServer;
  let host: string;

  beforeAll(async () => {
    server = await startTestServer();
    ({ host } = new URL(server.issuer));
  });
  afterAll(() => server.stop());

  const form = (target: string, fields: Record<string, string>, ...headers: string[]) =>
    sendRaw(
      server,
      [`POST ${target} HTTP/1.1`, `Host: ${host}`, 'Content-Type: application/x-www-form-urlencoded', ...headers],
      new URLSearchParams(fields).toString(),
    );

  test('gets no token for an assertion or a DPoP proof that was made for his host', async () => {
    const signer = await newSigner();
    const { clientId } = await server.admin.createClient({
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [signer.publicJwk] },
    });
    const machine = await server.admin.createClient();
    const api = 'https://api.example';
    await server.admin.createApi(api, { scopes: ['read'] });
    for (const id of [clientId, machine.clientId]) await server.admin.allow(id, api, ['read']);
    const grant = { grant_type: 'client_credentials' };
    const signed = (aud: string) => assertion(server.issuer, clientId, signer, { claims: { aud } });
    const proof = async (htu: string) => `DPoP: ${await dpopProof(signer, { htm: 'POST', htu })}`;
    const basic = `Authorization: Basic ${Buffer.from(`${machine.clientId}:${machine.clientSecret}`).toString('base64')}`;

    const own = `${server.issuer}/oauth2/token`;
    expect((await form(own, { ...grant, ...(await signed(own)) })).status).toBe(200);
    expect((await form(own, grant, basic, await proof(own))).status).toBe(200);

    const his = `${EVIL}/oauth2/token`;
    const lies = ['X-Forwarded-Host: evil.example', 'Forwarded: host=evil.example', 'X-Forwarded-Proto: http'];
    expect((await form(his, { ...grant, ...(await signed(his)) })).status).toBe(421);
    expect((await form('/oauth2/token', { ...grant, ...(await signed(his)) }, ...lies)).status).toBe(401);
    expect((await form(his, grant, basic, await proof(his))).status).toBe(421);
    expect((await form('/oauth2/token', grant, basic, ...lies, await proof(his))).status).toBe(400);
  });

  test('finds his host in no address that we give', async () => {
    const app = await server.admin.createClient({
      ...CODE_FLOW,
      ...PUBLIC,
      grant_types: ['authorization_code', DEVICE_GRANT],
    });
    const lies = ['X-Forwarded-Host: evil.example', 'X-Forwarded-Proto: https', 'Forwarded: host=evil.example'];
    const device = await form('/oauth2/device_authorization', { client_id: app.clientId, scope: 'openid' }, ...lies);
    expect(JSON.parse(device.body).verification_uri).toBe(`${server.issuer}/oauth2/device`);
    const logout = await sendRaw(server, ['GET /oauth2/logout HTTP/1.1', `Host: ${host.toUpperCase()}`, ...lies]);
    expect(logout.body).toContain(`${server.issuer}/oauth2/logout/success`);
    const agent = createUserAgent(server.issuer);
    await server.admin.createUser(ALICE.username, ALICE.password);
    await obtainTokens(server, app, {}, { agent });
    const cookie = `Cookie: ${agent.cookies.map(({ name, value }) => `${name}=${value}`).join('; ')}`;
    const page = await sendRaw(server, ['GET /oauth2/logout HTTP/1.1', `Host: ${host.toUpperCase()}`, cookie, ...lies]);
    expect(page.body).toContain(`action="${server.issuer}/oauth2/logout/confirm"`);
    for (const path of ['/oauth2/logout', '/oauth2/device_authorization', DISCOVERY]) {
      expect((await sendRaw(server, [`GET ${EVIL}${path} HTTP/1.1`, `Host: ${host}`])).status).toBe(421);
    }
  });

  test('may write our own host in another spelling, which changes no answer', async () => {
    const { clientId } = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
    const { challenge } = pkcePair();
    const code = {
      client_id: clientId,
      code_challenge: challenge,
      code_challenge_method: 'S256',
      redirect_uri: REDIRECT_URI,
    };
    const { pathname, search } = new URL(authorizationUrl(server.issuer, code));
    const target = `HTTP://${host.toUpperCase()}${pathname}${search}`;
    expect((await sendRaw(server, [`GET ${target} HTTP/1.1`, 'Host: evil.example'])).status).toBe(303);
  });
});
