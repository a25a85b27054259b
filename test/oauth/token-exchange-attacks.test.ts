// Token exchange (RFC 8693) against whoever is one of the hands in the chain and wants more than the user and the policy gave: a token
// that lives longer, that is bound to no key any more, that stays when its first half is gone.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, SignJWT } from 'jose';
import { type Answer, introspect, postForm, revoke, type TestClient } from '../support/admin.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { hidden } from '../support/device.ts';
import { ACCESS_TOKEN, EXCHANGE, exchangeChains, JWT } from '../support/exchange-chain.ts';
import { countBlocked, lockTable } from '../support/hold.ts';
import { ALICE, CODE_FLOW, INACTIVE, isActive, obtainCode, obtainTokens, REDIRECT_URI } from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner, type Signer } from '../support/signing.ts';
import { createUserAgent } from '../support/user-agent.ts';

let server: TestServer;
let userId: string;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  userId = await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, EXCHANGE] });
});
afterAll(() => server.stop());

const { buildChain, allowExchange, exchange, userToken, exchanged, walk } = exchangeChains(
  () => server,
  () => app,
);

const refused = (answer: Answer) => [answer.status, answer.body.error, answer.body.access_token];
const seconds = () => Math.floor(Date.now() / 1000);

async function proof(signer: Signer): Promise<Record<string, string>> {
  return { dpop: await dpopProof(signer, { htm: 'POST', htu: `${server.issuer}/oauth2/token` }) };
}

/** The token of the user, bound to a key of the app. */
async function boundUserToken(signer: Signer, resource: string): Promise<string> {
  const { code, verifier } = await obtainCode(server, app, { scope: 'openid read', resource });
  const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
  const { body } = await postForm(`${server.issuer}/oauth2/token`, app, form, await proof(signer));
  if (body.token_type !== 'DPoP') throw new Error(JSON.stringify(body));
  return body.access_token as string;
}

describe.each(['jwt', 'opaque'] as const)('%s', (format) => {
  test('a server that is slow at the wrong moment does not lend the new token time that the old one has not got', async () => {
    const chain = await buildChain(format);
    const api = `/resource-servers/${encodeURIComponent(chain.apis[0])}`;
    await server.admin.request('PATCH', api, { access_token_ttl_seconds: 600 });
    const token = await userToken(chain);
    const exp = (await introspect(server.issuer, app, token)).body.exp as number;
    const signer = await newSigner();
    /** An exchange that waits for the database while so many seconds pass. */
    const exchangeFor = async (waitSeconds: number) => {
      const lock = await lockTable(server.connectionString, 'replay_guard');
      const answer = exchange(chain.services[0], token, { resource: chain.apis[1] }, await proof(signer));
      await until(async () => (await countBlocked(server.sql)) === 1, 'the wait for the lock');
      moveClock(waitSeconds);
      const releasedAt = seconds();
      await lock.release();
      const { status, body } = await answer;
      resetClock();
      return { status, body, releasedAt };
    };
    const inTime = await exchangeFor(300);
    const made = await introspect(server.issuer, chain.services[0], inTime.body.access_token as string);
    expect(made.body.exp).toBe(exp);
    expect(inTime.body.expires_in as number).toBeLessThanOrEqual(exp - inTime.releasedAt);

    const tooLate = await exchangeFor(600);
    expect([tooLate.status, tooLate.body.error]).toEqual([400, 'invalid_request']);
    expect(tooLate.body).not.toHaveProperty('access_token');
  });

  test('an exchange that raced with the revocation of the grant has gained nothing', async () => {
    const chain = await buildChain(format);
    const [, second, third] = await walk(chain);
    expect(await isActive(server, chain.services[1], second)).toBe(true);
    // The tokens were written a moment after the grant was taken away with all that there was.
    await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Grant'`);
    expect((await introspect(server.issuer, chain.services[1], second)).body).toEqual(INACTIVE);
    expect((await introspect(server.issuer, chain.services[2], third)).body).toEqual(INACTIVE);
    expect(refused(await exchange(chain.services[1], second, { resource: chain.apis[2] }))[1]).toBe('invalid_request');
  });

  test.each([
    ['of the app for the first API', 0],
    ['of the first service for the second API', 1],
    ['of the second service for the third API', 2],
  ] as const)('the policy row %s, taken away, takes what came after it along', async (_name, hop) => {
    const chain = await buildChain(format);
    const tokens = await walk(chain);
    const client = [app, ...chain.services][hop] as TestClient;
    const path = `/resource-servers/${encodeURIComponent(chain.apis[hop])}/clients/${client.clientId}`;
    expect((await server.admin.request('DELETE', path)).status).toBe(204);
    for (const [index, token] of tokens.entries()) {
      const caller = chain.services[index] as TestClient;
      expect([index, await isActive(server, caller, token)]).toEqual([index, index < hop]);
    }
  });

  test('an API in the middle that closes itself to such chains closes what came after it too', async () => {
    const chain = await buildChain(format);
    const [first, , third] = await walk(chain);
    const path = `/resource-servers/${encodeURIComponent(chain.apis[1])}`;
    await server.admin.request('PATCH', path, { delegation: null });
    expect(await isActive(server, chain.services[2], third)).toBe(false);
    expect(await isActive(server, chain.services[0], first)).toBe(true);
  });

  test('the user, or the app where it began, disabled: nothing of the chain stands, and nothing more is made of it', async () => {
    const bob = { username: `bob-${format}`, password: 'correct horse battery' };
    const bobId = await server.admin.createUser(bob.username, bob.password);
    const chain = await buildChain(format);
    const otherApp = await server.admin.createClient(CODE_FLOW);
    await server.admin.allow(otherApp.clientId, chain.apis[0], ['read']);
    for (const [client, user, disable] of [
      [app, bob, `/users/${bobId}/disable`],
      [otherApp, ALICE, `/clients/${otherApp.clientId}/disable`],
    ] as const) {
      const params = { scope: 'openid read', resource: chain.apis[0] };
      const { accessToken } = await obtainTokens(server, client, params, { user });
      const second = await exchanged(chain.services[0], accessToken, { resource: chain.apis[1] });
      expect(await isActive(server, chain.services[1], second)).toBe(true);
      await server.admin.request('POST', disable);
      expect(await isActive(server, chain.services[1], second)).toBe(false);
      const more = await exchange(chain.services[1], second, { resource: chain.apis[2] });
      expect(refused(more)).toEqual([400, 'invalid_request', undefined]);
    }
  });

  test('round and round: who exchanges his own token again and again gets no further than the API says', async () => {
    const chain = await buildChain(format, { max_depth: 2, allowed_clients: null });
    const second = await exchanged(chain.services[0], await userToken(chain), { resource: chain.apis[1] });
    const again = await exchanged(chain.services[0], second, { resource: chain.apis[1] });
    const answer = await exchange(chain.services[0], again, { resource: chain.apis[1] });
    expect(refused(answer)).toEqual([400, 'invalid_target', undefined]);
  });

  describe('a token that is bound to a key', () => {
    test('whoever has stolen it together with the secret of its app cannot wash the key off', async () => {
      const chain = await buildChain(format);
      await allowExchange(app, chain.apis[1]);
      const signer = await newSigner();
      const token = await boundUserToken(signer, chain.apis[0]);
      const form = { resource: chain.apis[1] };
      expect(refused(await exchange(app, token, form))).toEqual([400, 'invalid_request', undefined]);
      const other = await exchange(app, token, form, await proof(await newSigner()));
      expect(refused(other)).toEqual([400, 'invalid_request', undefined]);
      const { body } = await exchange(app, token, form, await proof(signer));
      const { cnf } = (await introspect(server.issuer, app, body.access_token as string)).body;
      expect([body.token_type, cnf]).toEqual(['DPoP', { jkt: signer.thumbprint }]);
    });

    test('an API that was called with it has not got the key; what it gets is bound to its own', async () => {
      const chain = await buildChain(format);
      const token = await boundUserToken(await newSigner(), chain.apis[0]);
      const own = await newSigner();
      const { body } = await exchange(chain.services[0], token, { resource: chain.apis[1] }, await proof(own));
      const seen = await introspect(server.issuer, chain.services[1], body.access_token as string);
      expect(seen.body).toMatchObject({ token_type: 'DPoP', cnf: { jkt: own.thumbprint } });
    });
  });

  test('what was issued is called what was asked for (RFC 8693 §2.2.1)', async () => {
    const chain = await buildChain(format);
    const token = await userToken(chain);
    const asked = async (type: Record<string, string>) => {
      const { status, body } = await exchange(chain.services[0], token, { resource: chain.apis[1], ...type });
      return [status, body.issued_token_type ?? body.error];
    };
    expect(await asked({})).toEqual([200, ACCESS_TOKEN]);
    expect(await asked({ requested_token_type: ACCESS_TOKEN })).toEqual([200, ACCESS_TOKEN]);
    // A client that wants to read the token must not get one that it cannot read.
    const jwt = format === 'jwt' ? [200, JWT] : [400, 'invalid_request'];
    expect(await asked({ requested_token_type: JWT })).toEqual(jwt);
  });

  test('it is revoked by the client that exchanged it and by nobody else, and goes when the user signs out', async () => {
    const chain = await buildChain(format);
    const [svcA, svcB] = chain.services;
    const agent = createUserAgent(server.issuer);
    const params = { scope: 'openid read', resource: chain.apis[0] };
    const { accessToken } = await obtainTokens(server, app, params, { agent });
    const [one, two] = [
      await exchanged(svcA, accessToken, { resource: chain.apis[1] }),
      await exchanged(svcA, accessToken, { resource: chain.apis[1] }),
    ];
    for (const stranger of [app, svcB]) await revoke(server.issuer, stranger, one);
    expect(await isActive(server, svcB, one)).toBe(true);
    await revoke(server.issuer, svcA, one);
    expect([await isActive(server, svcB, one), await isActive(server, svcB, two)]).toEqual([false, true]);
    expect(refused(await exchange(svcB, one, { resource: chain.apis[2] }))[1]).toBe('invalid_request');
    const page = await agent.visit('/oauth2/logout');
    await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(page.html, 'xsrf'), logout: 'yes' });
    expect(await isActive(server, svcB, two)).toBe(false);
  });

  test('the same target by both names, and a scope that is named twice, count once', async () => {
    const chain = await buildChain(format);
    const [, target] = chain.apis;
    const form = { resource: target, audience: target, scope: 'read read' };
    const { status, body } = await exchange(chain.services[0], await userToken(chain), form);
    expect([status, body.scope]).toEqual([200, 'read']);
  });

  test('an actor token of the service itself says no more than the service', async () => {
    const chain = await buildChain(format);
    const machine = await postForm(`${server.issuer}/oauth2/token`, chain.services[0], {
      grant_type: 'client_credentials',
      resource: chain.apis[1],
    });
    const actor = { actor_token: machine.body.access_token as string, actor_token_type: ACCESS_TOKEN };
    const token = await exchanged(chain.services[0], await userToken(chain), { resource: chain.apis[1], ...actor });
    const { clientId } = chain.services[0];
    const { body } = await introspect(server.issuer, chain.services[1], token);
    expect([body.sub, body.act]).toEqual([userId, { sub: clientId, client_id: clientId }]);
  });

  test('whom the token names as its actor (may_act), and nobody else: not even the app itself', async () => {
    const chain = await buildChain(format);
    const [svcA, svcB] = chain.services;
    await allowExchange(app, chain.apis[1]);
    const nameActor = async (clientId: string | null) => {
      const path = `/resource-servers/${encodeURIComponent(chain.apis[0])}/clients/${app.clientId}`;
      const answer = await server.admin.request('PUT', path, { scopes: ['read', 'write'], may_act: clientId });
      expect([answer.status, answer.body.may_act]).toEqual([200, clientId]);
    };
    const form = { resource: chain.apis[1] };
    await nameActor(svcB.clientId);
    const forOther = await userToken(chain);
    for (const client of [svcA, app]) {
      expect(refused(await exchange(client, forOther, form))).toEqual([400, 'invalid_request', undefined]);
    }
    await nameActor(svcA.clientId);
    const forA = await userToken(chain);
    const { body } = await introspect(server.issuer, svcA, forA);
    expect(body.may_act).toEqual({ sub: svcA.clientId, client_id: svcA.clientId });
    if (format === 'jwt') expect(decodeJwt(forA).may_act).toEqual(body.may_act);
    expect((await exchange(svcA, forA, form)).status).toBe(200);
    expect(refused(await exchange(app, forA, form))[1]).toBe('invalid_request');
    await nameActor(null);
    expect((await exchange(app, await userToken(chain), form)).status).toBe(200);
  });

  test('a token for userinfo says what an app may know of the user, not what it may do anywhere', async () => {
    const chain = await buildChain(format);
    const api = `/resource-servers/${encodeURIComponent(chain.apis[1])}`;
    await server.admin.request('PATCH', api, { scopes: ['read', 'write', 'profile'] });
    await allowExchange(app, chain.apis[1], ['profile']);
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid profile' });
    const answer = await exchange(app, accessToken, { resource: chain.apis[1], scope: 'profile' });
    expect(refused(answer)).toEqual([400, 'invalid_request', undefined]);
  });
});

test('pairwise subjects stay pairwise: no hop learns by which name another knows the user', async () => {
  const chain = await buildChain('jwt');
  const pairwise = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials', EXCHANGE],
    subject_type: 'pairwise',
  });
  await server.admin.allow(pairwise.clientId, chain.apis[0], ['read']);
  await allowExchange(pairwise, chain.apis[1]);
  const { accessToken } = await obtainTokens(server, pairwise, { scope: 'openid read', resource: chain.apis[0] });
  const actor = { actor_token: accessToken, actor_token_type: ACCESS_TOKEN };
  const token = await exchanged(pairwise, accessToken, { resource: chain.apis[1], ...actor });
  const { sub } = decodeJwt(accessToken);
  expect(sub).not.toBe(userId);
  expect(decodeJwt(token)).toMatchObject({ sub, act: { sub, client_id: pairwise.clientId } });
  expect(JSON.stringify(decodeJwt(token))).not.toContain(userId);
});

test('a JWT of another issuer, or one that this server has not signed, is as good as made up', async () => {
  const chain = await buildChain('jwt');
  const claims = decodeJwt(await userToken(chain));
  const { privateKey } = await newSigner();
  for (const iss of [server.issuer, 'https://other.example']) {
    const forged = await new SignJWT({ ...claims, iss })
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt' })
      .sign(privateKey);
    const answer = await exchange(chain.services[0], forged, { resource: chain.apis[1], subject_token_type: JWT });
    expect(refused(answer)).toEqual([400, 'invalid_request', undefined]);
  }
});

test('an admin API that lets itself be reached by exchange is none: it takes no token that was handed on', async () => {
  const audience = `${server.issuer}/admin`;
  const chain = await buildChain('jwt');
  const admin = `/resource-servers/${encodeURIComponent(audience)}`;
  await server.admin.request('PATCH', admin, { delegation: { max_depth: 1, allowed_clients: null } });
  const api = `/resource-servers/${encodeURIComponent(chain.apis[0])}`;
  await server.admin.request('PATCH', api, { scopes: ['read', 'write', 'admin:read'] });
  await server.admin.allow(app.clientId, chain.apis[0], ['admin:read']);
  await allowExchange(chain.services[0], audience, ['admin:read']);
  const token = await exchanged(chain.services[0], await userToken(chain, 'openid admin:read'), { resource: audience });
  const answer = await fetch(`${server.issuer}/admin/v1/clients`, { headers: { authorization: `Bearer ${token}` } });
  expect(answer.status).toBe(401);
});
