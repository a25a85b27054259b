// What failed in the plan `fapi2-message-signing-final-test-plan` of the OpenID Foundation's suite at the pushed authorization request
// endpoint: the twelve modules that send a request object which must be refused. The request has a client assertion and no `client_id`
// (RFC 9126 §3 needs none). The refusal is about the request object: the client has authenticated.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Answer, type TestClient, toAnswer } from '../support/admin.ts';
import { CODE_FLOW, REDIRECT_URI } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { assertion, type Changes, inSeconds, newSigner, requestObject, type Signer } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

let server: TestServer;
let app: TestClient;
let signer: Signer;
let rs256: Signer;
let other: Signer;

beforeAll(async () => {
  server = await startTestServer();
  [signer, rs256, other] = await Promise.all([newSigner('PS256'), newSigner('RS256'), newSigner('PS256')]);
  const profile = { ...CODE_FLOW, security_profile: 'fapi2-message-signing' };
  app = await server.admin.createClient({ ...profile, jwks: { keys: [signer.publicJwk, rs256.publicJwk] } });
  await server.admin.createClient({ ...profile, jwks: { keys: [other.publicJwk] } });
});
afterAll(() => server.stop());

const params = () => ({
  ...{ response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', state: 'a state', nonce: 'a nonce' },
  ...{ code_challenge: pkcePair().challenge, code_challenge_method: 'S256', response_mode: 'jwt' },
});

async function push(form: Record<string, string>): Promise<Answer> {
  const body = new URLSearchParams({ ...form, ...(await assertion(server.issuer, app.clientId, signer)) });
  return toAnswer(await fetch(`${server.issuer}/oauth2/par`, { method: 'POST', body }));
}

const request = (changes: Changes = {}, by = signer) =>
  requestObject(server.issuer, app.clientId, by, params(), changes);

const withoutSignature = (jwt: string) => {
  const [, payload] = jwt.split('.');
  return `${Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url')}.${payload}.`;
};

const prefix = 'fapi2-security-profile-final-ensure';
const MINUTES = 60;

test(`${prefix}-request-object-with-multiple-aud-succeeds, and every right one does`, async () => {
  for (const aud of [server.issuer, [server.issuer, 'https://other.example']]) {
    const { status, body } = await push({ request: await request({ claims: { aud } }) });
    expect([status, body.error_description]).toEqual([201, undefined]);
  }
});

test.each<[module: string, make: () => Promise<string>, error?: RegExp]>([
  [`${prefix}-request-object-without-exp-fails`, () => request({ claims: { exp: undefined } })],
  [`${prefix}-request-object-without-nbf-fails`, () => request({ claims: { nbf: undefined } })],
  [
    `${prefix}-request-object-without-redirect-uri-fails`,
    () => request({ claims: { redirect_uri: undefined } }),
    /^invalid_request(_object)?$/,
  ],
  [`${prefix}-expired-request-object-fails`, () => request({ claims: { exp: inSeconds(-5 * MINUTES) } })],
  [`${prefix}-request-object-with-bad-aud-fails`, () => request({ claims: { aud: 'https://other.example' } })],
  [`${prefix}-request-object-with-exp-over-60-fails`, () => request({ claims: { exp: inSeconds(70 * MINUTES) } })],
  [
    `${prefix}-request-object-with-nbf-over-60-fails`,
    () => request({ claims: { nbf: inSeconds(-70 * MINUTES), exp: inSeconds(-9 * MINUTES + 600) } }),
  ],
  [`${prefix}-signed-request-object-with-RS256-fails`, () => request({}, rs256)],
  [`${prefix}-request-object-signature-algorithm-is-not-none`, async () => withoutSignature(await request())],
  [
    `${prefix}-request-object-with-invalid-signature-fails`,
    async () => `${(await request()).slice(0, -20)}${'A'.repeat(20)}`,
  ],
  [`${prefix}-matching-key-in-authorization-request`, () => request({}, other)],
])('%s', async (_module, make, error = /^invalid_request_object$/) => {
  const { status, body } = await push({ request: await make() });
  expect([status, body.error]).toEqual([400, expect.stringMatching(error)]);
  expect(body.error_description).toEqual(expect.any(String));
});

test(`${prefix}-unsigned-request-at-par-endpoint-fails`, async () => {
  const { status, body } = await push(params());
  expect([status, body.error]).toEqual([400, expect.stringMatching(/^invalid_request(_object)?$/)]);
  expect(String(body.error_description)).toMatch(/request/i);
});
