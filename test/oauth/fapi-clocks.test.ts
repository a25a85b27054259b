// Clocks differ (FAPI 2.0 Security Profile §5.3.2.1): a JWT of a client is accepted a few seconds
// ahead. Further in the future it is refused: an attacker with short access to the key could have
// signed it in advance.

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type Answer, type TestClient, toAnswer } from '../support/admin.ts';
import { resetClock, stopClock } from '../support/clock.ts';
import { CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, inSeconds, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

let server: TestServer;
let signer: Signer;
let app: TestClient;
let signing: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner('PS256');
  const members = { ...CODE_FLOW, jwks: { keys: [signer.publicJwk] } };
  app = await server.admin.createClient({ ...members, security_profile: 'fapi2' });
  signing = await server.admin.createClient({ ...members, security_profile: 'fapi2-message-signing' });
});
afterAll(() => server.stop());
// So that what is 62 seconds ahead is still so when it arrives.
beforeEach(() => stopClock(Date.now() / 1000));
afterEach(resetClock);

type Claims = Record<string, unknown>;

const ahead = (seconds: number): Claims => ({
  iat: inSeconds(seconds),
  nbf: inSeconds(seconds),
  exp: inSeconds(seconds + 60),
});

function params(): Record<string, string> {
  const { challenge } = pkcePair();
  return {
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  };
}

async function push(client: TestClient, form: Record<string, string>, claims: Claims = {}): Promise<Answer> {
  const authentication = await assertion(server.issuer, client.clientId, signer, { claims });
  const body = new URLSearchParams({ client_id: client.clientId, ...form, ...authentication });
  return toAnswer(await fetch(`${server.issuer}/oauth2/par`, { method: 'POST', body }));
}

describe('a client assertion', () => {
  test('whose iat and nbf are 8 seconds ahead is accepted', async () => {
    expect((await push(app, params(), ahead(8))).status).toBe(201);
  });

  test('that is more than a minute ahead is refused, with nbf and without', async () => {
    for (const claims of [ahead(62), { ...ahead(62), nbf: undefined }]) {
      const { status, body } = await push(app, params(), claims);
      expect([status, body.error]).toEqual([401, 'invalid_client']);
    }
  });
});

describe('a request object', () => {
  const pushSigned = async (claims: Claims) => {
    const all = { ...params(), response_mode: 'jwt' };
    return push(signing, { request: await requestObject(server.issuer, signing.clientId, signer, all, { claims }) });
  };

  test('whose iat and nbf are 8 seconds ahead is accepted', async () => {
    expect((await pushSigned(ahead(8))).status).toBe(201);
  });

  test('that is more than a minute ahead is refused', async () => {
    for (const claims of [ahead(62), { iat: inSeconds(62) }]) {
      const { status, body } = await pushSigned(claims);
      expect([status, body.error]).toEqual([400, 'invalid_request_object']);
    }
  });
});
