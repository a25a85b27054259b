// DPoP (RFC 9449) outside of the token endpoint: pushed requests, userinfo, a second node. The
// token endpoint is in dpop.test.ts.

import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type TestClient, toAnswer } from '../support/admin.ts';
import { ALICE, CODE_FLOW, exchange, obtainCode, PUBLIC, REDIRECT_URI, userinfo } from '../support/oauth.ts';
import { type OtherNode, startOtherNode } from '../support/other-node.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { type Changes, dpopProof, newSigner, type Signer } from '../support/signing.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const ALGS = 'ES256 PS256 Ed25519 EdDSA';

let server: TestServer;
let app: TestClient;
let key: Signer;
let otherKey: Signer;

beforeAll(async () => {
  server = await startTestServer();
  [key, otherKey] = [await newSigner(), await newSigner()];
  app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

function proofFor(path: string, signer: Signer, changes: Changes = {}, htm = 'POST'): Promise<string> {
  return dpopProof(signer, { htm, htu: `${server.issuer}${path}` }, changes);
}

async function post(path: string, form: Record<string, string>, dpop?: string) {
  const headers: Record<string, string> = dpop === undefined ? {} : { dpop };
  const body = new URLSearchParams({ client_id: app.clientId, ...form });
  return toAnswer(await fetch(`${server.issuer}${path}`, { method: 'POST', headers, body }));
}

test('discovery names the algorithms of proofs (RFC 9449 §5.1), none of them with a shared secret', async () => {
  const discovery = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
  expect(discovery).toMatchObject({ dpop_signing_alg_values_supported: ALGS.split(' ') });
});

describe('pushed requests (RFC 9449 §10.1)', () => {
  const { verifier, challenge } = pkcePair();
  const request = {
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    state: 'a state',
    code_challenge: challenge,
    code_challenge_method: 'S256',
  };

  async function codeOf(requestUri: unknown): Promise<Record<string, string>> {
    const query = new URLSearchParams({ client_id: app.clientId, request_uri: String(requestUri) });
    const url = `${server.issuer}/oauth2/authorize?${query}`;
    const back = await signInAndAllow(createUserAgent(server.issuer), url, ALICE);
    const code = back.searchParams.get('code') as string;
    return { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
  }

  test('a proof binds the code: stolen with its verifier, it is refused with another key', async () => {
    const push = async () => post('/oauth2/par', request, await proofFor('/oauth2/par', key));
    const stolen = await codeOf((await push()).body.request_uri);
    expect((await post('/oauth2/token', stolen, await proofFor('/oauth2/token', otherKey))).body.error).toBe(
      'invalid_grant',
    );
    const unproven = await codeOf((await push()).body.request_uri);
    expect((await post('/oauth2/token', unproven)).body.error).toBe('invalid_grant');
    const own = await codeOf((await push()).body.request_uri);
    expect((await post('/oauth2/token', own, await proofFor('/oauth2/token', key))).body.token_type).toBe('DPoP');
  });

  test('a proof of another key than dpop_jkt is refused', async () => {
    const named = { ...request, dpop_jkt: key.thumbprint };
    const { status, body } = await post('/oauth2/par', named, await proofFor('/oauth2/par', otherKey));
    expect([status, body.error]).toEqual([400, 'invalid_request']);
    expect((await post('/oauth2/par', named, await proofFor('/oauth2/par', key))).status).toBe(201);
  });

  test('a proof is for this endpoint, and accepted once', async () => {
    const elsewhere = await post('/oauth2/par', request, await proofFor('/oauth2/token', key));
    expect([elsewhere.status, elsewhere.body.error]).toEqual([400, 'invalid_dpop_proof']);
    const dpop = await proofFor('/oauth2/par', key);
    expect((await post('/oauth2/par', request, dpop)).status).toBe(201);
    expect((await post('/oauth2/par', request, dpop)).status).toBe(400);
  });
});

describe('userinfo (RFC 9449 §7.1)', () => {
  let token: string;
  beforeAll(async () => {
    const { code, verifier } = await obtainCode(server, app, { scope: 'openid' });
    const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
    const { body } = await post('/oauth2/token', form, await proofFor('/oauth2/token', key));
    token = body.access_token as string;
  });

  async function read(accessToken: string, dpop: string) {
    const headers = { authorization: `DPoP ${accessToken}`, dpop };
    return toAnswer(await fetch(`${server.issuer}/oauth2/userinfo`, { headers }));
  }

  const proofWith = (accessToken: string) => {
    const ath = createHash('sha256').update(accessToken).digest('base64url');
    return proofFor('/oauth2/userinfo', key, { claims: { ath } }, 'GET');
  };

  test('a refused proof: 401 with the accepted algorithms', async () => {
    const { status, headers } = await read(token, await proofFor('/oauth2/userinfo', key, {}, 'GET'));
    const challenge = headers.get('www-authenticate');
    expect([status, challenge]).toEqual([401, expect.stringMatching(/^DPoP .*error="invalid_dpop_proof"/)]);
    expect(challenge).toContain(`algs="${ALGS}"`);
  });

  test('a bound token that is sent as Bearer: 401 with the scheme that it requires (§7.2)', async () => {
    const { status, headers } = await userinfo(server, token);
    expect([status, headers.get('www-authenticate')]).toEqual([401, expect.stringMatching(/^DPoP .*invalid_token/)]);
  });

  test('a proof that was observed cannot be replayed', async () => {
    const dpop = await proofWith(token);
    expect((await read(token, dpop)).status).toBe(200);
    const { status, body } = await read(token, dpop);
    expect([status, body.error]).toEqual([401, 'invalid_dpop_proof']);
  });

  test('a stolen bearer token is refused with a proof of the attacker', async () => {
    const tokens = await exchange(server, app, await obtainCode(server, app, { scope: 'openid' }));
    const bearer = tokens.body.access_token as string;
    expect((await userinfo(server, bearer)).status).toBe(200);
    expect((await read(bearer, await proofWith(bearer))).status).toBe(401);
  });
});

describe('on two nodes', () => {
  let node: OtherNode;
  let machine: TestClient;
  const form = { grant_type: 'client_credentials', resource: ORDERS };
  beforeAll(async () => {
    node = await startOtherNode(server);
    machine = await server.admin.createClient({ grant_types: ['client_credentials'], dpop_require_nonce: true });
    await server.admin.createApi(ORDERS, { scopes: ['read'] });
    await server.admin.allow(machine.clientId, ORDERS, ['read']);
  });
  afterAll(() => node.stop());

  async function askHere(dpop: string) {
    const authorization = `Basic ${Buffer.from(`${machine.clientId}:${machine.clientSecret}`).toString('base64')}`;
    const init = { method: 'POST', headers: { authorization, dpop }, body: new URLSearchParams(form) };
    return toAnswer(await fetch(`${server.issuer}/oauth2/token`, init));
  }

  test('a nonce of one is accepted by the other, and a proof used at one is refused by the other', async () => {
    const nonce = (await askHere(await proofFor('/oauth2/token', key))).headers.get('dpop-nonce');
    const dpop = await proofFor('/oauth2/token', key, { claims: { nonce } });
    expect((await node.post('/oauth2/token', machine, form, { dpop })).status).toBe(200);
    expect((await askHere(dpop)).status).toBe(400);
    expect((await askHere(await proofFor('/oauth2/token', key, { claims: { nonce } }))).status).toBe(200);
  });
});
