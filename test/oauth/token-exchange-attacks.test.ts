// Token exchange (RFC 8693) with an attacker in the delegation chain, who wants more than user and
// policy allow: a later expiry, an unbound token, a token that outlives the one it was made of.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, SignJWT } from 'jose';
import { type Answer, introspect, postForm, revoke, type TestClient } from '../support/admin.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { hidden } from '../support/device.ts';
import { ACCESS_TOKEN, EXCHANGE, exchangeChains, JWT } from '../support/exchange-chain.ts';
import { countBlocked, lockTable } from '../support/hold.ts';
import {
  ALICE,
  CODE_FLOW,
  INACTIVE,
  isActive,
  obtainCode,
  obtainTokens,
  REDIRECT_URI,
  userinfo,
} from '../support/oauth.ts';
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

/** A token of the user, bound to a key of the app. */
async function boundUserToken(signer: Signer, resource: string): Promise<string> {
  const { code, verifier } = await obtainCode(server, app, { scope: 'openid read', resource });
  const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
  const { body } = await postForm(`${server.issuer}/oauth2/token`, app, form, await proof(signer));
  if (body.token_type !== 'DPoP') throw new Error(JSON.stringify(body));
  return body.access_token as string;
}

describe.each(['jwt', 'opaque'] as const)('%s', (format) => {
  test('on a slow server, the new token does not expire after the old one', async () => {
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

  test('tokens of an exchange that raced with the revocation of the grant are inactive', async () => {
    const chain = await buildChain(format);
    const [, second, third] = await walk(chain);
    expect(await isActive(server, chain.services[1], second)).toBe(true);
    // As if the tokens were written just after the grant was deleted.
    await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Grant'`);
    expect((await introspect(server.issuer, chain.services[1], second)).body).toEqual(INACTIVE);
    expect((await introspect(server.issuer, chain.services[2], third)).body).toEqual(INACTIVE);
    expect(refused(await exchange(chain.services[1], second, { resource: chain.apis[2] }))[1]).toBe('invalid_request');
  });

  test.each([
    ['of the app for the first API', 0],
    ['of the first service for the second API', 1],
    ['of the second service for the third API', 2],
  ] as const)('removing the policy row %s ends all later tokens of the chain', async (_name, position) => {
    const chain = await buildChain(format);
    const tokens = await walk(chain);
    const client = [app, ...chain.services][position] as TestClient;
    const path = `/resource-servers/${encodeURIComponent(chain.apis[position])}/clients/${client.clientId}`;
    expect((await server.admin.request('DELETE', path)).status).toBe(204);
    for (const [index, token] of tokens.entries()) {
      const caller = chain.services[index] as TestClient;
      expect([index, await isActive(server, caller, token)]).toEqual([index, index < position]);
    }
  });

  test('removing the delegation rule of an API in the middle ends all later tokens of the chain', async () => {
    const chain = await buildChain(format);
    const [first, , third] = await walk(chain);
    const path = `/resource-servers/${encodeURIComponent(chain.apis[1])}`;
    await server.admin.request('PATCH', path, { delegation: null });
    expect(await isActive(server, chain.services[2], third)).toBe(false);
    expect(await isActive(server, chain.services[0], first)).toBe(true);
  });

  test('after the user or the first app was disabled, all tokens of the chain are inactive, and cannot be exchanged', async () => {
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

  test('a client that exchanges its own token again and again is limited by max_depth', async () => {
    const chain = await buildChain(format, { max_depth: 2, allowed_clients: null });
    const second = await exchanged(chain.services[0], await userToken(chain), { resource: chain.apis[1] });
    const again = await exchanged(chain.services[0], second, { resource: chain.apis[1] });
    const answer = await exchange(chain.services[0], again, { resource: chain.apis[1] });
    expect(refused(answer)).toEqual([400, 'invalid_target', undefined]);
  });

  describe('a token that is bound to a key', () => {
    test('with the stolen token and the secret of its app, an attacker cannot get an unbound token', async () => {
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

    test('an API that was called with it does not have its key, and gets a token bound to its own key', async () => {
      const chain = await buildChain(format);
      const token = await boundUserToken(await newSigner(), chain.apis[0]);
      const own = await newSigner();
      const { body } = await exchange(chain.services[0], token, { resource: chain.apis[1] }, await proof(own));
      const seen = await introspect(server.issuer, chain.services[1], body.access_token as string);
      expect(seen.body).toMatchObject({ token_type: 'DPoP', cnf: { jkt: own.thumbprint } });
    });
  });

  test('issued_token_type is the requested type (RFC 8693 §2.2.1)', async () => {
    const chain = await buildChain(format);
    const token = await userToken(chain);
    const asked = async (type: Record<string, string>) => {
      const { status, body } = await exchange(chain.services[0], token, { resource: chain.apis[1], ...type });
      return [status, body.issued_token_type ?? body.error];
    };
    expect(await asked({})).toEqual([200, ACCESS_TOKEN]);
    expect(await asked({ requested_token_type: ACCESS_TOKEN })).toEqual([200, ACCESS_TOKEN]);
    // A client that requests a JWT must not get an opaque token.
    const jwt = format === 'jwt' ? [200, JWT] : [400, 'invalid_request'];
    expect(await asked({ requested_token_type: JWT })).toEqual(jwt);
  });

  test('it can be revoked by the client that exchanged it only, and ends at the logout of the user', async () => {
    const chain = await buildChain(format);
    const [svcA, svcB] = chain.services;
    const agent = createUserAgent(server.issuer);
    const params = { scope: 'openid read', resource: chain.apis[0] };
    const { accessToken } = await obtainTokens(server, app, params, { agent });
    const [one, two] = [
      await exchanged(svcA, accessToken, { resource: chain.apis[1] }),
      await exchanged(svcA, accessToken, { resource: chain.apis[1] }),
    ];
    for (const other of [app, svcB]) await revoke(server.issuer, other, one);
    expect(await isActive(server, svcB, one)).toBe(true);
    await revoke(server.issuer, svcA, one);
    expect([await isActive(server, svcB, one), await isActive(server, svcB, two)]).toEqual([false, true]);
    expect(refused(await exchange(svcB, one, { resource: chain.apis[2] }))[1]).toBe('invalid_request');
    const page = await agent.visit('/oauth2/logout');
    await agent.submit('/oauth2/logout/confirm', { xsrf: hidden(page.html, 'xsrf'), logout: 'yes' });
    expect(await isActive(server, svcB, two)).toBe(false);
  });

  test('the same target by resource and audience, and a repeated scope, count once', async () => {
    const chain = await buildChain(format);
    const [, target] = chain.apis;
    const form = { resource: target, audience: target, scope: 'read read' };
    const { status, body } = await exchange(chain.services[0], await userToken(chain), form);
    expect([status, body.scope]).toEqual([200, 'read']);
  });

  test('an actor token of the service itself changes nothing', async () => {
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

  test('may_act: only the named actor may exchange the token, not even the app itself', async () => {
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

  test('a token for userinfo cannot be exchanged', async () => {
    const chain = await buildChain(format);
    await addReservedScope(chain.apis[1], 'profile');
    await allowExchange(app, chain.apis[1], ['profile']);
    const { accessToken } = await obtainTokens(server, app, { scope: 'openid profile' });
    const answer = await exchange(app, accessToken, { resource: chain.apis[1], scope: 'profile' });
    expect(refused(answer)).toEqual([400, 'invalid_request', undefined]);
  });

  test('OpenID scopes are not passed on: userinfo accepts the first token only', async () => {
    const chain = await buildChain(format);
    const [svcA] = chain.services;
    const first = await userToken(chain, 'openid profile read');
    expect((await userinfo(server, first)).status).toBe(200);
    const { body } = await exchange(svcA, first, { resource: chain.apis[1] });
    expect(body.scope).toBe('read');
    expect((await userinfo(server, body.access_token as string)).body.error).toBe('insufficient_scope');
    for (const scope of ['openid', 'openid profile read']) {
      expect(refused(await exchange(svcA, first, { resource: chain.apis[1], scope }))[1]).toBe('invalid_scope');
    }
  });

  test('one does not become a scope of the next API that has the same name from before it was reserved', async () => {
    const chain = await buildChain(format);
    const [svcA] = chain.services;
    await addReservedScope(chain.apis[1], 'profile');
    await allowExchange(svcA, chain.apis[1], ['read', 'profile']);
    const { body } = await exchange(svcA, await userToken(chain, 'openid profile read'), { resource: chain.apis[1] });
    expect(body.scope).toBe('read');
  });
});

/** As an API has it that was registered by a version before. */
function addReservedScope(identifier: string, scope: string) {
  const text = 'UPDATE resource_servers SET scopes = scopes || $2 WHERE identifier = $1';
  return server.sql.query(text, [identifier, [scope]]);
}

test('pairwise subjects stay pairwise: no service learns the subject of the user at another one', async () => {
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

test('a JWT of another issuer, or with another signature, is refused like an invented one', async () => {
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

test('the admin API accepts no exchanged token, even with a delegation rule', async () => {
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
