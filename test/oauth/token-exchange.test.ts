// Token exchange (RFC 8693): app -> svc-a -> svc-b -> svc-c, each with its own token that names the
// user and the actors. The attacker has stolen a token, or is an actor.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { genericGrantRequest, getDPoPHandle, randomDPoPKeyPair } from 'openid-client';
import { createGuard } from '../../src/guard/index.ts';
import { type Answer, introspect, postForm, revoke, type TestClient } from '../support/admin.ts';
import { ACCESS_TOKEN, type Chain, EXCHANGE, exchangeChains } from '../support/exchange-chain.ts';
import { ALICE, CODE_FLOW, clientToken, honest, INACTIVE, obtainTokens, PUBLIC, tally } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
let userId: string;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  userId = await server.admin.createUser(ALICE.username, ALICE.password);
  // ID tokens that are signed with the key of access tokens are the harder ones to tell apart.
  app = await server.admin.createClient({ ...CODE_FLOW, id_token_signed_response_alg: 'ES256' });
});
afterAll(() => server.stop());

const { buildChain, allowExchange, exchange, userToken, exchanged, walk } = exchangeChains(
  () => server,
  () => app,
);

describe.each(['jwt', 'opaque'] as const)('three exchanges, %s', (format) => {
  let chain: Chain;
  beforeAll(async () => {
    chain = await buildChain(format);
  });

  test('each token is bound to its client, and names the user and the actors', async () => {
    const [first, second, third] = await walk(chain);
    const [svcA, svcB, svcC] = chain.services;
    const actor = (client: TestClient) => ({ sub: client.clientId, client_id: client.clientId });
    const expected = {
      active: true,
      client_id: svcB.clientId,
      azp: svcB.clientId,
      sub: userId,
      aud: chain.apis[2],
      scope: 'read',
      act: { ...actor(svcB), act: actor(svcA) },
    };
    const { body } = await introspect(server.issuer, svcC, third);
    expect(body).toMatchObject(expected);
    expect(body).not.toHaveProperty('lanyard_origin');
    expect((await introspect(server.issuer, svcB, second)).body).toMatchObject({
      azp: svcA.clientId,
      act: actor(svcA),
    });
    expect((await introspect(server.issuer, svcA, first)).body).not.toHaveProperty('act');
    if (format === 'jwt') {
      const { active: _, ...claims } = expected;
      expect(decodeJwt(third)).toMatchObject(claims);
    }
  });

  test('an API with the guard accepts an allowed client, and answers 403 to the others', async () => {
    const [, second] = await walk(chain);
    const guardFor = (clients: string[]) =>
      createGuard({
        issuer: server.issuer,
        audience: chain.apis[1],
        clients,
        mode: 'introspection',
        introspection: chain.services[1],
      });
    const principal = await guardFor([chain.services[0].clientId]).check(`Bearer ${second}`);
    expect(principal).toMatchObject({ clientId: chain.services[0].clientId, subject: userId });
    await expect(guardFor([app.clientId]).check(`Bearer ${second}`)).rejects.toMatchObject({ status: 403 });
  });

  test('it does not expire after the token that it was made of', async () => {
    const first = await userToken(chain);
    const { body } = await introspect(server.issuer, app, first);
    const answer = await exchange(chain.services[0], first, { resource: chain.apis[1] });
    const made = (await introspect(server.issuer, chain.services[0], answer.body.access_token as string)).body;
    expect(made.exp as number).toBeLessThanOrEqual(body.exp as number);
    expect(answer.body).not.toHaveProperty('refresh_token');
    expect(answer.body).not.toHaveProperty('id_token');
    expect(answer.body.issued_token_type).toBe(ACCESS_TOKEN);
  });

  test('the API may be named in another spelling, and twice; the token has the registered identifier', async () => {
    const [, target] = chain.apis;
    const resource = target.replace(/(?<=\/\/)[^/]+/, (host) => `${host.toUpperCase()}:443`);
    const answer = await exchange(chain.services[0], await userToken(chain), { resource, audience: target });
    const { body } = await introspect(server.issuer, chain.services[0], answer.body.access_token as string);
    expect(body).toMatchObject({ active: true, aud: target });
  });

  test('the end of the first grant ends the whole chain at once', async () => {
    const session = await obtainTokens(server, app, { scope: 'openid read write', resource: chain.apis[0] });
    const second = await exchanged(chain.services[0], session.accessToken, { resource: chain.apis[1] });
    const third = await exchanged(chain.services[1], second, { resource: chain.apis[2] });
    const tokens = [session.accessToken, second, third];
    // RFC 7009 §2.1: revoking a refresh token ends its grant.
    expect((await revoke(server.issuer, app, session.refreshToken)).status).toBe(200);
    for (const [index, caller] of chain.services.entries()) {
      expect((await introspect(server.issuer, caller, tokens[index] as string)).body).toEqual(INACTIVE);
    }
  });

  test('disabling a client in the middle ends all later tokens of the chain', async () => {
    const other = await buildChain(format);
    const tokens = await walk(other);
    await server.admin.request('POST', `/clients/${other.services[0].clientId}/disable`);
    expect((await introspect(server.issuer, other.services[2], tokens[2])).body).toEqual(INACTIVE);
  });

  test('a narrower delegation rule, or a removed policy row, applies to issued tokens', async () => {
    const other = await buildChain(format);
    const tokens = await walk(other);
    const path = `/resource-servers/${encodeURIComponent(other.apis[2])}`;
    const seen = async () => (await introspect(server.issuer, other.services[2], tokens[2])).body.active;
    expect(await seen()).toBe(true);
    for (const delegation of [
      null,
      { max_depth: 1, allowed_clients: null },
      { max_depth: 3, allowed_clients: [app.clientId] },
    ]) {
      await server.admin.request('PATCH', path, { delegation });
      expect(await seen()).toBe(false);
    }
    await server.admin.request('PATCH', path, { delegation: { max_depth: 3, allowed_clients: null } });
    expect(await seen()).toBe(true);
    await server.admin.allow(other.services[1].clientId, other.apis[2], ['read', 'write']);
    expect(await seen()).toBe(false);
  });

  test('every exchange is in the audit log, with the chain', async () => {
    const [, , third] = await walk(chain);
    expect(third).toBeDefined();
    const { body } = await server.admin.request(
      'GET',
      `/audit-events?type=token.exchanged&client_id=${chain.services[1].clientId}`,
    );
    const [event] = body.items as object[];
    expect(event).toMatchObject({
      user_id: userId,
      detail: {
        resource_server: chain.apis[2],
        chain: [app, chain.services[0], chain.services[1]].map(({ clientId }) => clientId),
      },
    });
  });

  describe('refused', () => {
    const refused = (answer: Answer) => [answer.status, answer.body.error, answer.body.access_token];

    test('a stolen token, for a client that is neither its own nor that of its API', async () => {
      const otherClient = await server.admin.createClient({ grant_types: ['client_credentials', EXCHANGE] });
      await allowExchange(otherClient, chain.apis[1]);
      const made = await exchange(otherClient, await userToken(chain), { resource: chain.apis[1] });
      expect(refused(made)).toEqual([400, 'invalid_request', undefined]);
      const invented = await exchange(otherClient, 'invented', { resource: chain.apis[1] });
      expect(made.body).toEqual(invented.body);
    });

    test('more scopes than the subject token has', async () => {
      const answer = await exchange(chain.services[0], await userToken(chain, 'openid read'), {
        resource: chain.apis[1],
        scope: 'read write',
      });
      expect(refused(answer)).toEqual([400, 'invalid_scope', undefined]);
    });

    test('an API without a policy row for exchange, an unknown one, two, none', async () => {
      const token = await userToken(chain);
      await server.admin.allow(chain.services[0].clientId, chain.apis[2], ['read']);
      const forms: Record<string, string>[] = [
        { resource: chain.apis[2] },
        { resource: 'https://unknown.example' },
        { resource: chain.apis[1], audience: chain.apis[2] },
        {},
      ];
      for (const form of forms) {
        expect(refused(await exchange(chain.services[0], token, form))).toEqual([400, 'invalid_target', undefined]);
      }
    });

    test('a chain that is too long for the API, or has a client that the API does not allow', async () => {
      for (const delegation of [
        { max_depth: 1, allowed_clients: null },
        { max_depth: 3, allowed_clients: [] },
      ]) {
        const short = await buildChain(format, delegation);
        const second = exchange(short.services[0], await userToken(short), { resource: short.apis[1] });
        if (delegation.allowed_clients === null) {
          const token = (await second).body.access_token as string;
          expect(refused(await exchange(short.services[1], token, { resource: short.apis[2] }))[1]).toBe(
            'invalid_target',
          );
        } else {
          expect(refused(await second)[1]).toBe('invalid_target');
        }
      }
    });

    test('an API without a delegation rule', async () => {
      const closed = await buildChain(format);
      await server.admin.request('PATCH', `/resource-servers/${encodeURIComponent(closed.apis[1])}`, {
        delegation: null,
      });
      const answer = await exchange(closed.services[0], await userToken(closed), { resource: closed.apis[1] });
      expect(refused(answer)).toEqual([400, 'invalid_target', undefined]);
    });

    test('refresh tokens, ID tokens, client tokens, revoked and invented ones as subject_token', async () => {
      const tokens = await obtainTokens(server, app, { scope: 'openid read', resource: chain.apis[0] });
      const machine = await clientToken(server, chain.services[0], { resource: chain.apis[1] });
      await revoke(server.issuer, app, tokens.accessToken);
      for (const subject of [tokens.refreshToken, tokens.idToken, machine, tokens.accessToken, 'x', 'a.b.c']) {
        const answer = await exchange(chain.services[0], subject, { resource: chain.apis[1] });
        expect(refused(answer)).toEqual([400, 'invalid_request', undefined]);
      }
    });

    test('an actor token of another client, or one of the two actor parameters', async () => {
      const token = await userToken(chain);
      const ofAnother = await clientToken(server, chain.services[1], { resource: chain.apis[2] });
      const form = { resource: chain.apis[1] };
      for (const extra of [
        { actor_token: ofAnother, actor_token_type: ACCESS_TOKEN },
        { actor_token: ofAnother },
        { actor_token_type: ACCESS_TOKEN },
      ] as Record<string, string>[]) {
        const answer = await exchange(chain.services[0], token, { ...form, ...extra });
        expect(refused(answer)).toEqual([400, 'invalid_request', undefined]);
      }
    });

    test('unknown token types', async () => {
      const token = await userToken(chain);
      const form = { resource: chain.apis[1] };
      const types = ['urn:ietf:params:oauth:token-type:refresh_token', 'urn:ietf:params:oauth:token-type:saml2', 'x'];
      for (const type of types) {
        expect((await exchange(chain.services[0], token, { ...form, subject_token_type: type })).body.error).toBe(
          'invalid_request',
        );
        expect((await exchange(chain.services[0], token, { ...form, requested_token_type: type })).body.error).toBe(
          'invalid_request',
        );
      }
    });

    test('a client that did not register the grant, and a wrong secret', async () => {
      const plain = await server.admin.createClient();
      await allowExchange(plain, chain.apis[1]);
      expect((await exchange(plain, await userToken(chain), { resource: chain.apis[1] })).body).not.toHaveProperty(
        'access_token',
      );
      const wrong = { ...chain.services[0], clientSecret: 'wrong' };
      expect((await exchange(wrong, await userToken(chain), { resource: chain.apis[1] })).status).toBe(401);
    });

    test('parameters of the request cannot change the chain', async () => {
      const extra = { act: '{"sub":"unknown"}', lanyard_origin: '{"grant_id":"x"}', client_id_of_token: app.clientId };
      const token = await exchanged(chain.services[0], await userToken(chain), { resource: chain.apis[1], ...extra });
      const { body } = await introspect(server.issuer, chain.services[1], token);
      expect(body.act).toEqual({ sub: chain.services[0].clientId, client_id: chain.services[0].clientId });
    });
  });
});

test('an app with openid-client exchanges, and a DPoP key of the exchanging client binds the new token', async () => {
  const chain = await buildChain('jwt');
  const configuration = await honest(server, chain.services[0]);
  const DPoP = getDPoPHandle(configuration, await randomDPoPKeyPair('ES256'));
  const parameters = {
    subject_token: await userToken(chain),
    subject_token_type: ACCESS_TOKEN,
    resource: chain.apis[1],
  };
  const tokens = await genericGrantRequest(configuration, EXCHANGE, parameters, { DPoP });
  expect(tokens.token_type).toBe('dpop');
  expect(decodeJwt(tokens.access_token)).toMatchObject({
    azp: chain.services[0].clientId,
    cnf: { jkt: expect.any(String) },
  });
});

test('the app may exchange its own token, if the policy allows it', async () => {
  const chain = await buildChain('opaque');
  const own = await server.admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, EXCHANGE] });
  await server.admin.allow(own.clientId, chain.apis[0], ['read']);
  await allowExchange(own, chain.apis[1]);
  const { accessToken } = await obtainTokens(server, own, { scope: 'openid read', resource: chain.apis[0] });
  const token = await exchanged(own, accessToken, { resource: chain.apis[1] });
  expect((await introspect(server.issuer, chain.services[1], token)).body).toMatchObject({
    active: true,
    azp: own.clientId,
  });
});

test('20 parallel exchanges each get a token: a subject token may be exchanged repeatedly', async () => {
  const chain = await buildChain('opaque');
  const token = await userToken(chain);
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => exchange(chain.services[0], token, { resource: chain.apis[1] })),
  );
  expect(tally(answers)).toEqual({ succeeded: 20, refusals: [] });
});

test('a public client can neither register the grant nor use it', async () => {
  const { status, body } = await server.admin.request('POST', '/clients', {
    ...CODE_FLOW,
    ...PUBLIC,
    grant_types: ['authorization_code', EXCHANGE],
  });
  expect([status, JSON.stringify(body)]).toEqual([400, expect.stringContaining('/grant_types')]);
  const unauthenticated = await postForm(`${server.issuer}/oauth2/token`, undefined, { grant_type: EXCHANGE });
  expect(unauthenticated.status).toBeGreaterThanOrEqual(400);
});

test('discovery announces the grant', async () => {
  const metadata = await (await fetch(`${server.issuer}/.well-known/oauth-authorization-server`)).json();
  expect((metadata as { grant_types_supported: string[] }).grant_types_supported).toContain(EXCHANGE);
});
