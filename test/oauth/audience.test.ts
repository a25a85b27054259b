// `audience`, as the libraries of other servers send it: another name of `resource` at every endpoint
// but for token exchange, where RFC 8693 defines it.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { type Answer, postForm, requestToken, type TestClient } from '../support/admin.ts';
import { plain, sameBothWays } from '../support/both-ways.ts';
import { EVERY_FLOW, FIRST_REQUESTS, type FirstRequest } from '../support/first-requests.ts';
import { ALICE, authorizationUrl, exchange, obtainCode, type Params, refresh, toTokens } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { newSigner, type Signer } from '../support/signing.ts';
import { createUserAgent, pkcePair, signInAndAllow } from '../support/user-agent.ts';

const ORDERS = 'https://orders.example';
const BILLING = 'https://billing.example/v1';

let server: TestServer;
let signer: Signer;
/** may call both, with the same scope */
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  signer = await newSigner();
  await server.admin.createUser(ALICE.username, ALICE.password);
  for (const identifier of [ORDERS, BILLING]) {
    await server.admin.createApi(identifier, {
      scopes: ['read'],
      authorization_details_types: {
        payment: { description: 'Pay', schema: { properties: { amount: { type: 'number' } } } },
      },
    });
  }
  const members = { ...EVERY_FLOW, authorization_details_types: ['payment'], jwks: { keys: [signer.publicJwk] } };
  app = await server.admin.createClient(members);
  for (const identifier of [ORDERS, BILLING]) await server.admin.allow(app.clientId, identifier, ['read']);
});
afterAll(() => server.stop());

const audienceOf = (answer: Record<string, unknown>) => decodeJwt(String(answer.access_token)).aud;
const flows = Object.entries(FIRST_REQUESTS);

describe.each(flows)('%s', (_flow, begin) => {
  const finished = async (params: Params) => {
    const first = await begin(server, app, params, signer);
    return 'finish' in first ? first.finish() : first;
  };

  test.each<[string, Params]>([
    ['alone', { audience: BILLING }],
    ['in another spelling', { audience: 'HTTPS://Billing.example:443/v1' }],
    ['beside the same resource', { audience: BILLING, resource: BILLING }],
    ['beside the same resource in another spelling', { audience: 'https://BILLING.example/v1', resource: BILLING }],
  ])('with audience %s', async (_name, params) => {
    expect(audienceOf((await finished({ scope: 'read', ...params })) as Record<string, unknown>)).toBe(BILLING);
  });

  test('with audience and authorization details that it declares', async () => {
    const authorization_details = JSON.stringify([{ type: 'payment', amount: 3 }]);
    const answer = await finished({ scope: 'read', audience: BILLING, authorization_details });
    expect(answer).toMatchObject({ authorization_details: [{ type: 'payment', amount: 3 }] });
    expect(audienceOf(answer as Record<string, unknown>)).toBe(BILLING);
  });

  test.each<[string, Params, RegExp]>([
    [
      'another resource beside it',
      { audience: BILLING, resource: ORDERS },
      /audience and resource name different APIs/,
    ],
    ['no URI', { audience: 'billing' }, /absolute URI/],
    ['a fragment', { audience: `${BILLING}#x` }, /fragment/],
    ['an API that does not exist', { audience: 'https://unknown.example' }, /may not call/],
  ])('is refused for an audience with %s: invalid_target before anybody signs in', async (_name, params, text) => {
    const refusal = await begin(server, app, { scope: 'read', ...params }, signer);
    expect(refusal).toEqual({ error: 'invalid_target', description: expect.stringMatching(text) });
  });
});

test('audience twice is refused, at the authorization endpoint and at the token endpoint', async () => {
  const twice = new URLSearchParams([ORDERS, BILLING].map((each): [string, string] => ['audience', each]));
  const params = { client_id: app.clientId, scope: 'read', code_challenge: pkcePair().challenge };
  const url = authorizationUrl(server.issuer, { ...params, code_challenge_method: 'S256' });
  const page = await createUserAgent(server.issuer).visit(`${url}&${twice}`);
  expect(page.leavesTo?.searchParams.get('error')).toBe('invalid_request');
  expect(page.leavesTo?.searchParams.get('error_description')).toMatch(/'audience' .* twice/);
  const form = new URLSearchParams([['grant_type', 'client_credentials'], ...twice]);
  const answer = await postForm(`${server.issuer}/oauth2/token`, app, form);
  expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request']);
  expect(answer.body.error_description).toMatch(/'audience' .* twice/);
});

test('of a request object: a list and an object are refused', async () => {
  const begin = FIRST_REQUESTS['a request object'] as FirstRequest;
  for (const audience of [[BILLING, ORDERS], { id: BILLING }, 5]) {
    const params = { scope: 'read', audience } as unknown as Params;
    expect(await begin(server, app, params, signer)).toMatchObject({ error: expect.stringMatching(/^invalid_/) });
  }
});

describe('at the token endpoint', () => {
  /** for both APIs */
  async function codeForBoth() {
    const { verifier, challenge } = pkcePair();
    const params = { client_id: app.clientId, scope: 'openid read', code_challenge: challenge };
    const url = authorizationUrl(server.issuer, { ...params, code_challenge_method: 'S256' });
    const both = new URLSearchParams([ORDERS, BILLING].map((each): [string, string] => ['resource', each]));
    const back = await signInAndAllow(createUserAgent(server.issuer), `${url}&${both}`, ALICE);
    return { verifier, code: back.searchParams.get('code') as string, back };
  }
  const errorOf = ({ status, body }: Answer) => [status, body.error, body.error_description];

  test('a code and a refresh token are narrowed to it', async () => {
    const first = await exchange(server, app, await codeForBoth(), { audience: BILLING });
    expect(audienceOf(first.body)).toBe(BILLING);
    const { refreshToken } = toTokens(first);
    for (const audience of [ORDERS, BILLING, `${ORDERS}/`]) {
      const answer = await refresh(server, app, refreshToken, { audience });
      expect(audienceOf(answer.body)).toBe(audience.replace(/\/$/, ''));
    }
  });

  test('a code and a refresh token of one API are not widened to another: invalid_target', async () => {
    const issued = await obtainCode(server, app, { scope: 'openid read', audience: ORDERS });
    const text = expect.stringMatching(/not for that API/);
    expect(errorOf(await exchange(server, app, issued, { audience: BILLING }))).toEqual([400, 'invalid_target', text]);
    const { refreshToken } = toTokens(await exchange(server, app, issued, { audience: ORDERS }));
    const refused = await refresh(server, app, refreshToken, { audience: BILLING });
    expect(errorOf(refused)).toEqual([400, 'invalid_target', text]);
  });

  test.each<[string, Params, number, unknown]>([
    ['alone', { audience: BILLING }, 200, BILLING],
    ['in another spelling', { audience: 'https://BILLING.example/v1' }, 200, BILLING],
    ['beside the same resource', { audience: BILLING, resource: BILLING }, 200, BILLING],
    ['left empty beside a resource', { audience: '', resource: BILLING }, 200, BILLING],
    ['beside another resource', { audience: BILLING, resource: ORDERS }, 400, 'invalid_target'],
    ['that is no URI', { audience: 'billing' }, 400, 'invalid_target'],
    ['that the client may not call', { audience: 'https://unknown.example' }, 400, 'invalid_target'],
    ['with a NUL', { audience: `${BILLING}\0` }, 400, 'invalid_target'],
  ])('client_credentials with an audience %s, on both transports', async (_name, form, status, expected) => {
    const all = { grant_type: 'client_credentials', ...form } as Record<string, string>;
    const answer = await sameBothWays(server, '/oauth2/token', plain(app, all));
    const outcome = answer.status === 200 ? audienceOf(answer.body) : answer.body.error;
    expect([answer.status, outcome]).toEqual([status, expected]);
  });

  test('client_credentials with authorization details of the audience', async () => {
    const authorization_details = JSON.stringify([{ type: 'payment', amount: 3 }]);
    const { body } = await requestToken(server.issuer, app, { audience: BILLING, authorization_details });
    expect(audienceOf(body)).toBe(BILLING);
    expect(body.authorization_details).toEqual([{ type: 'payment', amount: 3 }]);
  });
});
