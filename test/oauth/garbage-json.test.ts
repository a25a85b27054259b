// JSON inside of OAuth requests (claims, authorization details, request objects, assertions,
// proofs, hints, tokens) that no honest client sends. Without the input gate an attacker would get
// a 500 and an error in the log for each of them, could have rows stored that cannot be read again,
// and could make the requests of others fail that share a batch with his.

import { afterAll, beforeAll, describe, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { DEVICE_GRANT } from '../support/device.ts';
import { ALICE, CODE_FLOW, obtainTokens, REDIRECT_URI, type UserTokens } from '../support/oauth.ts';
import { ODD_VALUES, type OddValue, signedJwt, somePairs, unsignedJwt, withMember } from '../support/odd-json.ts';
import { expectNoFaults, type OddRequest, oddRequest } from '../support/odd-requests.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { ASSERTION_TYPE, assertion, inSeconds, newSigner, type Signer } from '../support/signing.ts';
import { pkcePair } from '../support/user-agent.ts';

const API = 'https://api.example';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const JWT_TYPE = 'urn:ietf:params:oauth:token-type:jwt';
/** What Node accepts of a request line or a header. */
const MAX_CHARACTERS = 15_000;

let server: TestServer;
let app: TestClient;
let keyed: TestClient;
let signer: Signer;
let tokens: UserTokens;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  signer = await newSigner();
  const flows = {
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'client_credentials', DEVICE_GRANT, EXCHANGE],
    authorization_details_types: ['payment'],
  };
  app = await server.admin.createClient(flows);
  const jwks = { keys: [signer.publicJwk] };
  keyed = await server.admin.createClient({ ...flows, token_endpoint_auth_method: 'private_key_jwt', jwks });
  const payment = { description: 'Pay', schema: { properties: { amount: {} } } };
  await server.admin.createApi(API, { scopes: ['read'], authorization_details_types: { payment } });
  for (const { clientId } of [app, keyed]) await server.admin.allow(clientId, API, ['read']);
  tokens = await obtainTokens(server, app);
});
afterAll(() => server.stop());

const BASIC = () => ({
  authorization: `Basic ${Buffer.from(`${app.clientId}:${app.clientSecret}`).toString('base64')}`,
});

function get(path: string, params: Record<string, string>, headers: Record<string, string> = {}) {
  return fetch(`${server.issuer}${path}?${new URLSearchParams(params)}`, { redirect: 'manual', headers });
}

function post(path: string, params: Record<string, string>, headers: Record<string, string> = BASIC()) {
  const body = new URLSearchParams(params);
  return fetch(server.issuer + path, { method: 'POST', redirect: 'manual', headers, body });
}

function authorization(params: Record<string, string>): Record<string, string> {
  return {
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    prompt: 'login',
    ...params,
  };
}

const expectDecency = (requests: readonly OddRequest[]) => expectNoFaults(server, app, requests);

describe('JSON in a parameter', () => {
  const WRAPPINGS = {
    claims: ['$', '{"userinfo":$}', '{"id_token":{"email":{"values":$}}}'],
    authorization_details: ['$', '[{"type":$}]', '[{"type":"payment","amount":$}]'],
  };

  test.each(['claims', 'authorization_details'] as const)('%s', async (name) => {
    const requests = ODD_VALUES.flatMap((value) =>
      WRAPPINGS[name].flatMap((wrapping) => {
        const json = wrapping.replace('$', () => value.json);
        const query = authorization({ resource: API, [name]: json });
        const device = { scope: 'openid', resource: API, [name]: json };
        const token = { grant_type: 'client_credentials', resource: API, [name]: json };
        const ways: [string, OddRequest['send']][] = [
          ['authorize', () => get('/oauth2/authorize', query)],
          ['posted', () => post('/oauth2/authorize', query, {})],
          ['par', () => post('/oauth2/par', query)],
          ['device', () => post('/oauth2/device_authorization', device)],
          ['token', () => post('/oauth2/token', token)],
        ];
        return ways.flatMap(([way, send]) => {
          if (way === 'authorize' && String(new URLSearchParams(query)).length > MAX_CHARACTERS) return [];
          return oddRequest(`${way} ${name} ${wrapping}`, value, name, send);
        });
      }),
    );
    await expectDecency(requests);
  });
});

describe('request objects', () => {
  const MEMBERS = [
    ...['response_type', 'response_mode', 'redirect_uri', 'scope', 'state', 'nonce', 'resource', 'claims', 'display'],
    ...['authorization_details', 'prompt', 'max_age', 'login_hint', 'id_token_hint', 'request', 'request_uri'],
    ...['registration', 'client_id', 'dpop_jkt', 'acr_values', 'ui_locales', 'code_challenge'],
    ...['iss', 'aud', 'sub', 'exp', 'iat', 'nbf', 'jti', 'unheard_of', '__proto__', 'toString'],
  ];

  const payload = () => ({
    iss: keyed.clientId,
    aud: server.issuer,
    nbf: inSeconds(),
    exp: inSeconds(300),
    ...authorization({ client_id: keyed.clientId }),
  });

  /**
   * Signed at each endpoint that takes one, and without a signature, which anybody can put into an
   * address.
   */
  async function everyWay(label: string, value: OddValue, member: string, json: string): Promise<OddRequest[]> {
    const signed = await signedJwt(signer, json);
    const ways: [string, OddRequest['send']][] = [
      ...['par', 'device_authorization'].map((path): [string, OddRequest['send']] => [
        path,
        async () => {
          const authentication = await assertion(server.issuer, keyed.clientId, signer);
          return post(`/oauth2/${path}`, { ...authentication, request: signed }, {});
        },
      ]),
      ['posted', () => post('/oauth2/authorize', { client_id: keyed.clientId, request: signed }, {})],
    ];
    for (const request of [signed, unsignedJwt('{"alg":"ES256"}', json)]) {
      if (request.length > MAX_CHARACTERS) continue;
      ways.push(['authorize', () => get('/oauth2/authorize', { client_id: keyed.clientId, request })]);
    }
    return ways.map(([way, send]) => oddRequest(`${way} ${label}`, value, member, send));
  }

  test('each member', async () => {
    const requests: OddRequest[] = [];
    for (const [member, value] of somePairs(MEMBERS, 5)) {
      const ways = await everyWay(member, value, member, withMember(payload(), member, value.json));
      // Two of them, in turn.
      const first = requests.length % ways.length;
      requests.push(...[...ways, ...ways].slice(first, first + 2));
    }
    await expectDecency(requests);
  });

  const NO_TEXT = ['{"toString":1}', '{"toString":{},"valueOf":null}'];
  const NO_TEXTS = ['[{"toString":1,"valueOf":null}]', '[[{"toString":{}}]]'];

  test.each([
    ...['state', 'redirect_uri', 'resource', 'nonce'].map((name) => [name, [...NO_TEXT, ...NO_TEXTS]] as const),
    ['claims', NO_TEXTS] as const,
    ['authorization_details', NO_TEXT] as const,
  ])('%s that cannot be turned into text', async (member, odd) => {
    const requests: OddRequest[] = [];
    for (const json of odd) {
      const value = { label: json, json };
      const ways = await everyWay(member, value, member, withMember(payload(), member, json));
      requests.push(...ways.map((request) => ({ ...request, refusedNaming: member })));
    }
    await expectDecency(requests);
  });

  test.each(['claims', 'authorization_details'])('%s that are JSON in text', async (member) => {
    const requests: OddRequest[] = [];
    const wrapping = member === 'claims' ? '{"userinfo":{"email":$}}' : '[{"type":"payment","amount":$}]';
    for (const value of ODD_VALUES) {
      const text = JSON.stringify(wrapping.replace('$', () => value.json));
      const json = withMember({ ...payload(), resource: API }, member, text);
      requests.push(...(await everyWay(`${member} in text`, value, member, json)));
    }
    await expectDecency(requests);
  });

  test('the header, and a payload that is something else', async () => {
    const requests: OddRequest[] = [];
    for (const value of ODD_VALUES) {
      const ways = await everyWay('payload', value, '', value.json);
      requests.push(...ways.map((request) => ({ ...request, refusedNaming: undefined })));
    }
    for (const [member, value] of somePairs(['alg', 'kid', 'typ', 'crit', 'b64', 'enc', 'jwk', 'x5c'])) {
      const header = withMember({ alg: 'ES256' }, member, value.json);
      const query = { client_id: keyed.clientId, request: unsignedJwt(header, JSON.stringify(payload())) };
      if (query.request.length > MAX_CHARACTERS) continue;
      requests.push(oddRequest(`header ${member}`, value, 'request', () => get('/oauth2/authorize', query)));
    }
    await expectDecency(requests);
  });
});

describe('other JWTs of clients', () => {
  test('client assertions', async () => {
    const requests: OddRequest[] = [];
    const paths = ['token', 'introspect', 'revoke', 'par', 'device_authorization'];
    const add = (label: string, value: OddValue, client_assertion: string) => {
      const form = { grant_type: 'client_credentials', client_assertion_type: ASSERTION_TYPE, client_assertion };
      const path = paths[requests.length % paths.length];
      const send = () => post(`/oauth2/${path}`, { token: 'x', ...form }, {});
      requests.push(oddRequest(`${path} ${label}`, value, 'client_assertion', send));
    };
    const { clientId } = keyed;
    const claims = () => ({
      ...{ iss: clientId, sub: clientId, aud: server.issuer, iat: inSeconds(), exp: inSeconds(60) },
      jti: `jti ${requests.length}`,
    });
    const members = ['iss', 'sub', 'aud', 'exp', 'iat', 'nbf', 'jti', 'unheard_of', '__proto__'];
    for (const [member, value] of somePairs(members, 9)) {
      add(member, value, await signedJwt(signer, withMember(claims(), member, value.json)));
    }
    for (const [member, value] of somePairs(['alg', 'kid', 'typ', 'crit', 'jwk'])) {
      const header = withMember({ alg: 'ES256' }, member, value.json);
      add(`header ${member}`, value, unsignedJwt(header, JSON.stringify(claims())));
    }
    await expectDecency(requests);
  });

  /**
   * The engine neither copies nor stores what is in them: it says itself what is wrong with each.
   */
  const left = (label: string, value: OddValue, send: OddRequest['send']) => ({
    label: `${label} ${value.label}`,
    send,
  });

  test('DPoP proofs', async () => {
    const { kty, crv, x, y } = signer.publicJwk;
    const jwk = { kty, crv, x, y };
    const requests: OddRequest[] = [];
    const add = (path: string, label: string, value: OddValue, DPoP: string) => {
      if (DPoP.length > MAX_CHARACTERS) return;
      const form = { grant_type: 'client_credentials', scope: 'openid' };
      const authorization = path === 'userinfo' ? `DPoP ${tokens.accessToken}` : BASIC().authorization;
      requests.push(left(`${path} ${label}`, value, () => post(`/oauth2/${path}`, form, { authorization, DPoP })));
    };
    for (const path of ['token', 'userinfo', 'par']) {
      const claims = () => ({
        ...{ htm: 'POST', htu: `${server.issuer}/oauth2/${path}`, iat: inSeconds() },
        jti: `jti ${requests.length}`,
      });
      for (const [member, value] of somePairs(['htm', 'htu', 'iat', 'jti', 'nonce', 'ath', '__proto__'], 4)) {
        const payload = withMember(claims(), member, value.json);
        add(path, member, value, await signedJwt(signer, payload, { typ: 'dpop+jwt', jwk }));
      }
      for (const [member, value] of somePairs(['alg', 'typ', 'jwk', 'crit'], 4)) {
        const header = withMember({ alg: 'ES256', typ: 'dpop+jwt', jwk }, member, value.json);
        add(path, `header ${member}`, value, unsignedJwt(header, JSON.stringify(claims())));
      }
      for (const [member, value] of somePairs(['kty', 'crv', 'x', 'y', 'd', 'key_ops'], 4)) {
        const header = `{"alg":"ES256","typ":"dpop+jwt","jwk":${withMember(jwk, member, value.json)}}`;
        add(path, `header jwk.${member}`, value, unsignedJwt(header, JSON.stringify(claims())));
      }
    }
    await expectDecency(requests);
  });

  test('ID token hints', async () => {
    const requests: OddRequest[] = [];
    const add = (label: string, value: OddValue, id_token_hint: string) => {
      const query = authorization({ prompt: 'none', id_token_hint });
      requests.push(left(`par ${label}`, value, () => post('/oauth2/par', query)));
      if (id_token_hint.length > MAX_CHARACTERS) return;
      requests.push(
        left(`authorize ${label}`, value, () => get('/oauth2/authorize', query)),
        left(`logout ${label}`, value, () => get('/oauth2/logout', { id_token_hint })),
      );
    };
    const claims = { iss: server.issuer, aud: app.clientId, sub: 'x', exp: inSeconds(60) };
    for (const [member, value] of somePairs(['iss', 'aud', 'sub', 'exp', 'sid', '__proto__'])) {
      add(member, value, unsignedJwt('{"alg":"ES256"}', withMember(claims, member, value.json)));
    }
    for (const [member, value] of somePairs(['alg', 'kid', 'crit'])) {
      const header = withMember({ alg: 'ES256' }, member, value.json);
      add(`header ${member}`, value, unsignedJwt(header, JSON.stringify(claims)));
    }
    await expectDecency(requests);
  });

  test('tokens that are presented', async () => {
    const requests: OddRequest[] = [];
    const header = { alg: 'ES256', typ: 'at+jwt' };
    const claims = { iss: server.issuer, aud: API, sub: 'x', exp: inSeconds(60), iat: inSeconds(), jti: 'x' };
    const add = (label: string, value: OddValue, token: string) => {
      const exchange = { grant_type: EXCHANGE, subject_token: token, subject_token_type: JWT_TYPE, resource: API };
      const actor = { ...exchange, subject_token: tokens.accessToken, actor_token: token, actor_token_type: JWT_TYPE };
      const ways: [string, OddRequest['send']][] = [
        ['introspect', () => post('/oauth2/introspect', { token })],
        ['revoke', () => post('/oauth2/revoke', { token })],
        ['subject_token', () => post('/oauth2/token', exchange)],
        ['actor_token', () => post('/oauth2/token', actor)],
      ];
      const bearer = { authorization: `Bearer ${token}` };
      if (token.length <= MAX_CHARACTERS) {
        ways.push(
          ['userinfo', () => get('/oauth2/userinfo', {}, bearer)],
          ['admin', () => get('/admin/v1/clients', {}, bearer)],
          ['registration', () => get('/oauth2/register/x', {}, bearer)],
        );
      }
      requests.push(...ways.map(([way, send]) => left(`${way} ${label}`, value, send)));
    };
    for (const [member, value] of somePairs(['iss', 'aud', 'sub', 'exp', 'jti', 'cnf', 'act', 'client_id'], 3)) {
      add(member, value, unsignedJwt(JSON.stringify(header), withMember(claims, member, value.json)));
    }
    for (const [member, value] of somePairs(['alg', 'kid', 'typ', 'crit'], 3)) {
      add(`header ${member}`, value, unsignedJwt(withMember(header, member, value.json), JSON.stringify(claims)));
    }
    await expectDecency(requests);
  });
});
