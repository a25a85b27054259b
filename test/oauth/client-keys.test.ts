// The keys that a client publishes at its jwks_uri (OpenID Connect Core §10.1.1): a new one is used
// soon, a withdrawn one not for ever, and nobody can make this server read them at will.

import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type Answer, type TestClient, toAnswer } from '../support/admin.ts';
import { jwkWithCertificate, makeCertificate } from '../support/certificates.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';
const PROXY_HEADER = 'x-client-cert';

let server: TestServer;
let documents: DocumentHost;
let answer: RequestListener;
let reads: string[] = [];
let first: Signer;
let second: Signer;

beforeAll(async () => {
  documents = await startDocumentHost((request, response) => {
    reads.push(request.url ?? '');
    answer(request, response);
  });
  const { host } = documents;
  server = await startTestServer({
    LANYARD_CLIENT_METADATA_HOSTS: host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host,
    LANYARD_TRUST_PROXY: '127.0.0.1',
    LANYARD_CLIENT_CERTIFICATE_HEADER: PROXY_HEADER,
  });
  await server.admin.createApi(API, { scopes: ['read'] });
  [first, second] = await Promise.all([newSigner(), newSigner()]);
});
afterAll(async () => {
  documents.close();
  await server.stop();
});
beforeEach(() => {
  reads = [];
});

const json = (body: unknown, headers: Record<string, string> = {}): RequestListener => {
  return (_request, response) =>
    response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
};

/** For a year, as the headers have it. */
function publish(...keys: object[]): void {
  answer = json({ keys }, { 'cache-control': 'max-age=31536000' });
}

let count = 0;

async function createClient(members: Record<string, unknown> = {}): Promise<TestClient> {
  const client = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: ['authorization_code', 'client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks_uri: `https://${documents.host}/keys/${++count}`,
    ...members,
  });
  await server.admin.allow(client.clientId, API, ['read']);
  return client;
}

async function post(path: string, form: Record<string, string>, headers: Record<string, string> = {}): Promise<Answer> {
  return toAnswer(await fetch(`${server.issuer}${path}`, { method: 'POST', body: new URLSearchParams(form), headers }));
}

async function token({ clientId }: TestClient, signer: Signer): Promise<Answer> {
  const form = { grant_type: 'client_credentials', ...(await assertion(server.issuer, clientId, signer)) };
  return post('/oauth2/token', form);
}

/** Five seconds after the keys were read, they may be read again. */
const AGAIN_MS = 5_100;

/**
 * Stops the clock by which the server, which is in this process, tells how old the keys are, so that it does not matter how fast the
 * machine is.
 * @param milliseconds how much later than now
 */
async function later<T>(milliseconds: number, work: () => Promise<T>): Promise<T> {
  const { now } = performance;
  const stopped = now.call(performance) + milliseconds;
  performance.now = () => stopped;
  try {
    return await work();
  } finally {
    performance.now = now;
  }
}

/** What is asked for within five seconds. */
const atOnce = <T>(work: () => Promise<T>) => later(0, work);

describe('a client that publishes another key', () => {
  test('can use it when the former ones are five seconds old, although the headers allowed to keep the former ones for a year', async () => {
    publish(first.publicJwk);
    const client = await createClient();
    await atOnce(async () => {
      expect((await token(client, first)).status).toBe(200);
      expect((await token(client, first)).status).toBe(200);
      expect(reads).toHaveLength(1);
      publish(second.publicJwk);
      expect((await token(client, second)).status).toBe(401);
    });
    await later(AGAIN_MS, async () => expect((await token(client, second)).status).toBe(200));
    expect(reads).toHaveLength(2);
    expect((await token(client, first)).body.error).toBe('invalid_client');
  });

  test('can sign request objects with it', async () => {
    publish(first.publicJwk);
    const client = await createClient({ token_endpoint_auth_method: 'client_secret_post' });
    const push = async (signer: Signer) => {
      const parameters = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid' };
      const pkce = { code_challenge: pkcePair().challenge, code_challenge_method: 'S256' };
      const request = await requestObject(server.issuer, client.clientId, signer, { ...parameters, ...pkce });
      return post('/oauth2/par', { client_id: client.clientId, client_secret: client.clientSecret, request });
    };
    expect((await push(first)).status).toBe(201);
    publish(second.publicJwk);
    await later(AGAIN_MS, async () => expect((await push(second)).status).toBe(201));
  });

  test('can present another certificate', async () => {
    const [one, two] = [makeCertificate({}), makeCertificate({})];
    publish({ ...jwkWithCertificate(one), kid: 'one' });
    const client = await createClient({ token_endpoint_auth_method: 'self_signed_tls_client_auth' });
    const present = ({ cert }: { cert: string }) => {
      const form = { grant_type: 'client_credentials', client_id: client.clientId };
      return post('/oauth2/token', form, { [PROXY_HEADER]: encodeURIComponent(cert) });
    };
    expect((await present(one)).status).toBe(200);
    publish({ ...jwkWithCertificate(two), kid: 'two' });
    await later(AGAIN_MS, async () => expect((await present(two)).status).toBe(200));
    expect((await present(one)).body.error).toBe('invalid_client');
  });
});

describe('a key that the client has withdrawn', () => {
  test('is not accepted after an hour, whatever the headers allowed', async () => {
    publish(first.publicJwk);
    const client = await createClient();
    expect((await token(client, first)).status).toBe(200);
    publish(second.publicJwk);
    await later(3_500_000, async () => expect((await token(client, first)).status).toBe(200));
    await later(3_700_000, async () => expect((await token(client, first)).body.error).toBe('invalid_client'));
  });

  test('is accepted while its host does not answer, but not for more than a day', async () => {
    publish(first.publicJwk);
    const client = await createClient();
    expect((await token(client, first)).status).toBe(200);
    // Headers of an error must not keep the keys either.
    answer = (_request, response) => response.writeHead(503, { 'cache-control': 'max-age=31536000' }).end();
    await later(4_000_000, async () => expect((await token(client, first)).status).toBe(200));
    await later(90_000_000, async () => {
      const { status, body } = await token(client, first);
      expect([status >= 400, body.access_token]).toEqual([true, undefined]);
    });
  });
});

describe('signatures with unfamiliar keys, which anybody can send', () => {
  test('make this server read the keys of a client once, not once each', async () => {
    publish(first.publicJwk);
    const client = await createClient();
    await atOnce(async () => {
      for (let attempt = 0; attempt < 20; attempt++) expect((await token(client, second)).status).toBe(401);
      await Promise.all(Array.from({ length: 20 }, () => token(client, second)));
      expect(reads).toHaveLength(1);
      expect((await token(client, first)).status).toBe(200);
    });
  });

  test('do not make it ask a host again and again that does not answer', async () => {
    answer = (_request, response) => response.writeHead(500).end();
    const client = await createClient();
    await atOnce(async () => {
      for (let attempt = 0; attempt < 10; attempt++) {
        expect((await token(client, first)).body).not.toHaveProperty('access_token');
      }
      expect(reads).toHaveLength(1);
    });
    publish(first.publicJwk);
    await later(AGAIN_MS, async () => expect((await token(client, first)).status).toBe(200));
  });

  test('of many clients cause sixty reads a minute, and keys that are due are read all the same', async () => {
    publish(first.publicJwk);
    const clients = await Promise.all(Array.from({ length: 65 }, () => createClient()));
    // Sixty connections at once could take longer than one read may.
    const oneAfterTheOther = async (signer: Signer) => {
      for (const client of clients) await token(client, signer);
    };
    for (const client of clients) expect((await token(client, first)).status).toBe(200);
    reads = [];
    // A minute in which nothing else was read.
    await later(120_000, () => oneAfterTheOther(second));
    expect(reads).toHaveLength(60);
    reads = [];
    await later(3_800_000, () => oneAfterTheOther(first));
    expect(reads).toHaveLength(65);
  });
});

test('a client with a metadata document has its keys read once, not at every request', async () => {
  const jwks_uri = `https://${documents.host}/keys/document`;
  const clientId = `https://${documents.host}/client.json`;
  const document = {
    ...{ client_id: clientId, client_name: 'Agent', redirect_uris: [REDIRECT_URI], jwks_uri },
    token_endpoint_auth_method: 'private_key_jwt',
  };
  const keys = json({ keys: [first.publicJwk] });
  answer = (request, response) => (request.url === '/client.json' ? json(document) : keys)(request, response);
  for (let attempt = 0; attempt < 3; attempt++) {
    const form = {
      client_id: clientId,
      response_type: 'code',
      redirect_uri: REDIRECT_URI,
      code_challenge_method: 'S256',
      scope: 'openid',
    };
    const signed = await assertion(server.issuer, clientId, first);
    const pkce = { code_challenge: pkcePair().challenge };
    expect((await post('/oauth2/par', { ...form, ...pkce, ...signed })).status).toBe(201);
  }
  expect(reads).toEqual(['/client.json', '/keys/document']);
});
