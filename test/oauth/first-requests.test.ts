// The first requests of a client reach a node at the same time: after a start, a failover or a
// change of the client. Each of them loads the client, and each must get all that the server adds
// to it. An attacker would gain bearer tokens of a client whose tokens are bound to its
// certificate.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Answer, TestClient } from '../support/admin.ts';
import { makeCertificate } from '../support/certificates.ts';
import { startDocumentHost } from '../support/document-host.ts';
import { ALICE, exchange, obtainCode, REDIRECT_URI } from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { assertion, newSigner, type Signer } from '../support/signing.ts';

const BANK = 'https://bank.example';
const CC = { grant_type: 'client_credentials', resource: BANK };
const PAYMENT = JSON.stringify([{ type: 'payment' }]);
const AT_ONCE = 16;
const CLIENTS = 6;
const WITHOUT_TLS = { LANYARD_TLS_PORT: '', LANYARD_TLS_CERT_FILE: '', LANYARD_TLS_KEY_FILE: '' };

let folder: string;
let server: TestServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-first-'));
  const tls = makeCertificate({ subject: [['CN', 'lanyard']], dns: ['localhost'] });
  for (const name of ['cert', 'key'] as const) await writeFile(join(folder, name), tls[name]);
  server = await startTestServer({
    LANYARD_TLS_PORT: String(await freePort()),
    LANYARD_TLS_CERT_FILE: join(folder, 'cert'),
    LANYARD_TLS_KEY_FILE: join(folder, 'key'),
  });
  await server.admin.createApi(BANK, {
    scopes: ['read'],
    authorization_details_types: { payment: { description: 'Pay' } },
  });
});
afterAll(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

async function createClients(metadata: Record<string, unknown>): Promise<TestClient[]> {
  const clients: TestClient[] = [];
  for (let count = 0; count < CLIENTS; count++) {
    const client = await server.admin.createClient({ grant_types: ['client_credentials'], ...metadata });
    await server.admin.allow(client.clientId, BANK, ['read']);
    clients.push(client);
  }
  return clients;
}

/** @returns how many got each answer */
async function countAnswers(
  node: OtherNode,
  clients: readonly TestClient[],
  formOf: (client: TestClient) => Promise<Record<string, string>>,
): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  const send = async (client: TestClient) => {
    const { status, body } = await node.post('/oauth2/token', client, await formOf(client));
    const answer = `${status} ${body.error ?? body.token_type}`;
    counts[answer] = (counts[answer] ?? 0) + 1;
  };
  await Promise.all(clients.flatMap((client) => Array.from({ length: AT_ONCE }, () => send(client))));
  return counts;
}

describe('a client whose tokens are bound to its certificate, at a node that takes no certificates', () => {
  test('gets no bearer token from any of its first requests', async () => {
    const clients = await createClients({ tls_client_certificate_bound_access_tokens: true });
    const node = await startOtherNode(server, WITHOUT_TLS);
    const counts = await countAnswers(node, clients, async () => CC);
    await node.stop();
    expect(counts).toEqual({ '400 invalid_grant': CLIENTS * AT_ONCE });
  });

  test('gets none either when it signs assertions', async () => {
    const signer = await newSigner();
    const clients = await createClients({ ...signingClient(signer), tls_client_certificate_bound_access_tokens: true });
    const node = await startOtherNode(server, WITHOUT_TLS);
    const formOf = async ({ clientId }: TestClient) => ({
      ...CC,
      ...(await assertion(server.issuer, clientId, signer)),
    });
    const counts = await countAnswers(node, clients, formOf);
    await node.stop();
    expect(counts).toEqual({ '400 invalid_grant': CLIENTS * AT_ONCE });
  });

  test('gets none either when it is described by a metadata document', async () => {
    const host = await startDocumentHost((request, response) => {
      const document = {
        ...{ client_id: `https://${host.host}${request.url}`, client_name: 'Agent', redirect_uris: [REDIRECT_URI] },
        ...{ grant_types: ['authorization_code'], token_endpoint_auth_method: 'none' },
        tls_client_certificate_bound_access_tokens: request.url === '/bound',
      };
      response.setHeader('content-type', 'application/json').end(JSON.stringify(document));
    });
    const plain = await startTestServer({
      LANYARD_CLIENT_METADATA_HOSTS: host.host,
      LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: host.host,
    });
    await plain.admin.createUser(ALICE.username, ALICE.password);
    const answers: Record<string, Answer> = {};
    for (const path of ['/bound', '/unbound']) {
      const client = { clientId: `https://${host.host}${path}`, clientSecret: '' };
      answers[path] = await exchange(plain, client, await obtainCode(plain, client));
    }
    await plain.stop();
    host.close();
    expect(answers['/bound']).toMatchObject({ status: 400, body: { error: 'invalid_grant' } });
    expect(answers['/bound']?.body).not.toHaveProperty('access_token');
    expect(answers['/unbound']).toMatchObject({ status: 200, body: { token_type: 'Bearer' } });
  });
});

describe('a client that signs assertions', () => {
  async function countWithDetails(metadata: Record<string, unknown>): Promise<Record<string, number>> {
    const signer = await newSigner();
    const clients = await createClients({ ...signingClient(signer), ...metadata });
    const node = await startOtherNode(server, WITHOUT_TLS);
    const counts = await countAnswers(node, clients, async ({ clientId }) => ({
      ...{ ...CC, authorization_details: PAYMENT },
      ...(await assertion(server.issuer, clientId, signer)),
    }));
    await node.stop();
    return counts;
  }

  test('and may ask for authorization details gets them with each of its first requests', async () => {
    const counts = await countWithDetails({ authorization_details_types: ['payment'] });
    expect(counts).toEqual({ '200 Bearer': CLIENTS * AT_ONCE });
  });

  test('and may ask for none gets them with none of its first requests', async () => {
    expect(await countWithDetails({})).toEqual({ '400 invalid_authorization_details': CLIENTS * AT_ONCE });
  });
});

function signingClient({ publicJwk }: Signer): Record<string, unknown> {
  return { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [publicJwk] } };
}
