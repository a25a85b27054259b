// DPoP (RFC 9449): tokens that cannot be used without the key they were issued to. The honest app
// is openid-client; each of the other proofs is wrong in one way.

import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { calculateJwkThumbprint, decodeJwt, exportJWK, SignJWT } from 'jose';
import {
  authorizationCodeGrant,
  clientCredentialsGrant,
  fetchUserInfo,
  getDPoPHandle,
  randomDPoPKeyPair,
  refreshTokenGrant,
} from 'openid-client';
import { introspect, type TestClient, toAnswer } from '../support/admin.ts';
import { ALICE, CODE_FLOW, exchange, honest, obtainCode, PUBLIC, REDIRECT_URI, tally } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { type Changes, dpopProof, inSeconds, newSigner, type Signer } from '../support/signing.ts';

const ORDERS = 'https://orders.example';
const VAULT = 'https://vault.example';

let server: TestServer;
let machine: TestClient;
let bound: TestClient;
let key: Signer;

interface ProofChanges extends Changes {
  readonly key?: Signer;
}

/** A valid proof for POST /oauth2/token, except for the changes. */
function proof({ key: proofKey = key, ...changes }: ProofChanges = {}): Promise<string> {
  return dpopProof(proofKey, { htm: 'POST', htu: `${server.issuer}/oauth2/token` }, changes);
}

async function askForToken(client: TestClient, dpop: string | undefined, form: Record<string, string> = {}) {
  const headers: Record<string, string> = dpop === undefined ? {} : { dpop };
  const body = new URLSearchParams({ grant_type: 'client_credentials', resource: ORDERS, ...form });
  if (client.clientSecret === '') body.set('client_id', client.clientId);
  else headers.authorization = `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`;
  return toAnswer(await fetch(`${server.issuer}/oauth2/token`, { method: 'POST', headers, body }));
}

beforeAll(async () => {
  server = await startTestServer();
  key = await newSigner();
  machine = await server.admin.createClient();
  bound = await server.admin.createClient({ grant_types: ['client_credentials'], dpop_bound_access_tokens: true });
  const api = await server.admin.createClient();
  await server.admin.createApi(ORDERS, { scopes: ['read'], introspection_client_id: api.clientId });
  await server.admin.createApi(VAULT, { scopes: ['open'], access_token_format: 'opaque' });
  for (const { clientId } of [machine, bound]) {
    await server.admin.allow(clientId, ORDERS, ['read']);
    await server.admin.allow(clientId, VAULT, ['open']);
  }
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

describe('client credentials', () => {
  test.each([ORDERS, VAULT])(
    'a token for %s is bound to the key and to the client, and introspection reports both',
    async (resource) => {
      const app = await honest(server, machine);
      const keyPair = await randomDPoPKeyPair('ES256');
      const DPoP = getDPoPHandle(app, keyPair);
      const tokens = await clientCredentialsGrant(app, { resource }, { DPoP });
      expect(tokens.token_type).toBe('dpop');
      const jkt = await calculateJwkThumbprint(await exportJWK(keyPair.publicKey));
      const { body } = await introspect(server.issuer, machine, tokens.access_token);
      const { clientId } = machine;
      expect(body).toMatchObject({
        active: true,
        token_type: 'DPoP',
        cnf: { jkt },
        client_id: clientId,
        azp: clientId,
      });
      if (resource === ORDERS) expect(decodeJwt(tokens.access_token)).toMatchObject({ cnf: { jkt }, azp: clientId });
    },
  );

  test('a client that registered dpop_bound_access_tokens gets no bearer token', async () => {
    const without = await askForToken(bound, undefined);
    expect([without.status, without.body.error]).toEqual([400, 'invalid_grant']);
    expect((await askForToken(bound, await proof())).body.token_type).toBe('DPoP');
  });

  test('other clients may get bearer tokens', async () => {
    expect((await askForToken(machine, undefined)).body.token_type).toBe('Bearer');
  });

  test.each(['PS256', 'Ed25519', 'EdDSA'])('a key for %s is accepted', async (alg) => {
    const answer = await askForToken(machine, await proof({ key: await newSigner(alg) }));
    expect([answer.status, answer.body.token_type]).toEqual([200, 'DPoP']);
  });
});

describe('proofs that are not of this request or key', () => {
  const faults: [string, () => ProofChanges | Promise<ProofChanges>][] = [
    ['for another method', () => ({ claims: { htm: 'GET' } })],
    ['for the method in another spelling', () => ({ claims: { htm: 'post' } })],
    ['for the endpoint in another spelling', () => ({ claims: { htu: `${server.issuer}/OAUTH2/token` } })],
    ['for the endpoint with a slash at its end', () => ({ claims: { htu: `${server.issuer}/oauth2/token/` } })],
    ['for another port', () => ({ claims: { htu: 'http://localhost/oauth2/token' } })],
    ['for another endpoint', () => ({ claims: { htu: `${server.issuer}/oauth2/userinfo` } })],
    ['for another server', () => ({ claims: { htu: 'https://evil.example/oauth2/token' } })],
    ['from two minutes ago', () => ({ claims: { iat: inSeconds(-120) } })],
    [
      'from two minutes ahead: it could be replayed after its jti was deleted',
      () => ({ claims: { iat: inSeconds(120) } }),
    ],
    ['without jti', () => ({ claims: { jti: undefined } })],
    ['without iat', () => ({ claims: { iat: undefined } })],
    ['that is a JWT of another type', () => ({ header: { typ: 'JWT' } })],
    ['signed by another key than that in its header', async () => ({ header: { jwk: (await newSigner()).publicJwk } })],
    ['with the private key in its header', async () => ({ header: { jwk: await exportJWK(key.privateKey) } })],
    ['with RS256', async () => ({ key: await newSigner('RS256') })],
  ];
  test.each(faults)('a proof %s is refused', async (_name, change) => {
    const answer = await askForToken(machine, await proof(await change()));
    expect(answer.status).toBe(400);
    expect(['invalid_dpop_proof', 'use_dpop_nonce']).toContain(answer.body.error);
    expect(answer.body).not.toHaveProperty('access_token');
  });

  test('htu may have a query, a fragment and an upper-case host (RFC 9449 §4.3)', async () => {
    const htu = `${server.issuer.replace('localhost', 'LOCALHOST')}/oauth2/token?a=b#c`;
    expect((await askForToken(machine, await proof({ claims: { htu } }))).status).toBe(200);
  });

  test('two proofs in one request are refused: a proxy may have checked the other one', async () => {
    const twice = `${await proof()}, ${await proof()}`;
    expect((await askForToken(machine, twice)).body.error).toBe('invalid_dpop_proof');
  });

  test('a proof that is signed with a shared secret in its header is refused', async () => {
    const secret = randomBytes(32);
    const jwk = { kty: 'oct', k: secret.toString('base64url') };
    const forged = await new SignJWT({ htm: 'POST', htu: `${server.issuer}/oauth2/token`, jti: 'a' })
      .setIssuedAt()
      .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk } as { alg: string })
      .sign(secret);
    expect((await askForToken(machine, forged)).body.error).toBe('invalid_dpop_proof');
  });

  test.each([-10, 10])('clocks differ: a proof %i seconds from now is accepted', async (seconds) => {
    expect((await askForToken(machine, await proof({ claims: { iat: inSeconds(seconds) } }))).status).toBe(200);
  });

  test('a proof without any signature is refused', async () => {
    const [header, payload] = (await proof({ header: {} })).split('.') as [string, string];
    const none = { ...JSON.parse(Buffer.from(header, 'base64url').toString()), alg: 'none' };
    const unsigned = `${Buffer.from(JSON.stringify(none)).toString('base64url')}.${payload}.`;
    expect((await askForToken(machine, unsigned)).body.error).toBe('invalid_dpop_proof');
  });

  test('a proof is accepted once: of 20 requests at once, one gets a token', async () => {
    const dpop = await proof();
    const answers = await Promise.all(Array.from({ length: 20 }, () => askForToken(machine, dpop)));
    expect(tally(answers)).toEqual({ succeeded: 1, refusals: ['400 invalid_dpop_proof'] });
  });
});

describe('nonces', () => {
  let careful: TestClient;
  beforeAll(async () => {
    careful = await server.admin.createClient({ grant_types: ['client_credentials'], dpop_require_nonce: true });
    await server.admin.allow(careful.clientId, ORDERS, ['read']);
  });

  test('a client with dpop_require_nonce gets a nonce, and is accepted with it', async () => {
    const first = await askForToken(careful, await proof());
    expect([first.status, first.body.error]).toEqual([400, 'use_dpop_nonce']);
    const nonce = first.headers.get('dpop-nonce');
    expect((await askForToken(careful, await proof({ claims: { nonce } }))).status).toBe(200);
  });

  test('a client with a wrong clock gets a nonce, which replaces the check of iat (RFC 9449 §4.3)', async () => {
    const iat = inSeconds(-3600);
    const first = await askForToken(machine, await proof({ claims: { iat } }));
    expect([first.status, first.body.error]).toEqual([400, 'use_dpop_nonce']);
    const nonce = first.headers.get('dpop-nonce');
    const dpop = await proof({ claims: { iat, nonce } });
    expect((await askForToken(machine, dpop)).status).toBe(200);
    expect((await askForToken(machine, dpop)).status).toBe(400);
  });

  test('openid-client does that by itself', async () => {
    const app = await honest(server, careful);
    const DPoP = getDPoPHandle(app, await randomDPoPKeyPair('ES256'));
    expect((await clientCredentialsGrant(app, { resource: ORDERS }, { DPoP })).token_type).toBe('dpop');
  });

  test('a nonce that this server did not issue is refused', async () => {
    const answer = await askForToken(careful, await proof({ claims: { nonce: 'invented' } }));
    expect(answer.body.error).toBe('use_dpop_nonce');
  });
});

describe('tokens of a user', () => {
  let app: TestClient;
  beforeAll(async () => {
    app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
    await server.admin.allow(app.clientId, ORDERS, ['read']);
  });

  test('a public app signs in, reads userinfo and refreshes, always with its key', async () => {
    const configuration = await honest(server, app);
    const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
    const { back, verifier } = await obtainCode(server, app, { scope: 'openid offline_access', prompt: 'consent' });
    const checks = { pkceCodeVerifier: verifier, expectedState: 'a state' };
    const tokens = await authorizationCodeGrant(configuration, back, checks, undefined, { DPoP });
    const subject = tokens.claims()?.sub as string;
    expect((await fetchUserInfo(configuration, tokens.access_token, subject, { DPoP })).sub).toBe(subject);
    const refreshed = await refreshTokenGrant(configuration, tokens.refresh_token as string, undefined, { DPoP });
    expect(refreshed.token_type).toBe('dpop');
  });

  test('the refresh token of a public app is refused without its key (RFC 9449 §5)', async () => {
    const { code, verifier } = await obtainCode(server, app, { scope: 'openid offline_access', prompt: 'consent' });
    const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
    const tokens = await askForToken(app, await proof(), { ...form, resource: '' });
    const stolen = { grant_type: 'refresh_token', refresh_token: tokens.body.refresh_token as string, resource: '' };
    for (const dpop of [undefined, await proof({ key: await newSigner() })]) {
      const answer = await askForToken(app, dpop, stolen);
      expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant']);
    }
    expect((await askForToken(app, await proof(), stolen)).status).toBe(200);
  });

  test('a bound token is refused as Bearer, with another key, or with a proof for another token', async () => {
    const { code, verifier } = await obtainCode(server, app, { scope: 'openid' });
    const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
    const token = (await askForToken(app, await proof(), { ...form, resource: '' })).body.access_token as string;
    const ath = createHash('sha256').update(token).digest('base64url');
    const at = { htm: 'GET', htu: `${server.issuer}/oauth2/userinfo` };
    const read = async (scheme: string, dpop?: string) =>
      (
        await fetch(`${server.issuer}/oauth2/userinfo`, {
          headers: { authorization: `${scheme} ${token}`, ...(dpop === undefined ? {} : { dpop }) },
        })
      ).status;
    expect(await read('Bearer')).toBe(401);
    expect(await read('DPoP')).toBe(400);
    expect(await read('DPoP', await proof({ claims: { ...at, ath }, key: await newSigner() }))).toBe(401);
    expect(await read('DPoP', await proof({ claims: { ...at, ath: 'of-another' } }))).toBe(401);
    expect(await read('DPoP', await proof({ claims: { ...at, ath } }))).toBe(200);
  });

  test('a code that was requested with dpop_jkt can be redeemed with that key only (RFC 9449 §10)', async () => {
    const issued = await obtainCode(server, app, { dpop_jkt: key.thumbprint });
    const form = {
      grant_type: 'authorization_code',
      code: issued.code,
      code_verifier: issued.verifier,
      redirect_uri: REDIRECT_URI,
      resource: '',
    };
    const otherKey = await newSigner();
    expect((await exchange(server, app, issued)).body.error).toBe('invalid_grant');
    const again = await obtainCode(server, app, { dpop_jkt: key.thumbprint });
    const stolen = { ...form, code: again.code, code_verifier: again.verifier };
    expect((await askForToken(app, await proof({ key: otherKey }), stolen)).body.error).toBe('invalid_grant');
    const third = await obtainCode(server, app, { dpop_jkt: key.thumbprint });
    const own = { ...form, code: third.code, code_verifier: third.verifier };
    expect((await askForToken(app, await proof(), own)).status).toBe(200);
  });
});
