// Rich authorization requests (RFC 9396): a user allows this payment, not payments; the token says which, to the API that declared
// the type, and no client gets more than the consent page showed.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt, UnsecuredJWT } from 'jose';
import { type Answer, introspect, postForm, type TestClient } from '../support/admin.ts';
import {
  ALICE,
  authorizationUrl,
  CODE_FLOW,
  exchange,
  type IssuedCode,
  obtainCode,
  REDIRECT_URI,
  refresh,
  toTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const BANK = 'https://bank.example';
const VAULT = 'https://vault.example';
const PAYMENT = {
  type: 'payment',
  amount: { currency: 'EUR', value: '12.50' },
  creditor: 'Corner Shop <b>GmbH</b>',
};
const OTHER_PAYMENT = { ...PAYMENT, amount: { currency: 'EUR', value: '99999.00' } };

const SCHEMA = {
  properties: {
    creditor: { type: 'string', maxLength: 100 },
    amount: {
      type: 'object',
      properties: { currency: { enum: ['EUR', 'CHF'] }, value: { type: 'string' } },
      required: ['currency', 'value'],
      additionalProperties: false,
    },
  },
  required: ['amount', 'creditor'],
};

let server: TestServer;
let app: TestClient;
let bank: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  bank = await server.admin.createClient();
  await server.admin.createApi(BANK, {
    name: 'Bank',
    scopes: ['accounts'],
    introspection_client_id: bank.clientId,
    authorization_details_types: { payment: { description: 'Pay', schema: SCHEMA } },
  });
  await server.admin.createApi(VAULT, {
    scopes: ['open'],
    access_token_format: 'opaque',
    introspection_client_id: bank.clientId,
  });
  app = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    authorization_details_types: ['payment', 'cheque'],
  });
  await server.admin.allow(app.clientId, BANK, ['accounts']);
  await server.admin.allow(app.clientId, VAULT, ['open']);
  await server.admin.createUser(ALICE.username, ALICE.password);
});
afterAll(() => server.stop());

function ask(details: unknown, params: Record<string, string> = {}, client = app): Promise<IssuedCode> {
  const authorization_details = typeof details === 'string' ? details : JSON.stringify(details);
  return obtainCode(server, client, { resource: BANK, scope: 'openid accounts', authorization_details, ...params });
}

test('the page shows what is to be allowed, as text', async () => {
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    resource: BANK,
    authorization_details: JSON.stringify([PAYMENT]),
  });
  const agent = createUserAgent(server.issuer);
  const login = await agent.visit(url);
  const { html } = await agent.submit(formAction(login.html, 'login'), { ...ALICE });
  expect(html).toContain('Pay');
  expect(html).toContain('12.50');
  expect(html).toContain('Corner Shop &lt;b&gt;GmbH&lt;/b&gt;');
});

test('the token carries what was allowed, and introspection tells the API', async () => {
  const answer = await exchange(server, app, await ask([PAYMENT]));
  expect(answer.body.authorization_details).toEqual([PAYMENT]);
  const { accessToken } = toTokens(answer);
  expect(decodeJwt(accessToken)).toMatchObject({ authorization_details: [PAYMENT], azp: app.clientId });
  const { body } = await introspect(server.issuer, bank, accessToken);
  expect(body).toMatchObject({ active: true, authorization_details: [PAYMENT], client_id: app.clientId });
});

test('a refreshed token has the same details', async () => {
  const tokens = toTokens(
    await exchange(server, app, await ask([PAYMENT], { scope: 'openid offline_access', prompt: 'consent' })),
  );
  const refreshed = await refresh(server, app, tokens.refreshToken);
  expect(refreshed.body.authorization_details).toEqual([PAYMENT]);
});

test('allowing one payment is not allowing another: the page comes again, and only the new one is in the code', async () => {
  const agent = createUserAgent(server.issuer);
  await obtainCode(server, app, { resource: BANK, authorization_details: JSON.stringify([PAYMENT]) }, { agent });
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
    resource: BANK,
    authorization_details: JSON.stringify([OTHER_PAYMENT]),
  });
  expect((await agent.visit(url)).html).toContain('99999.00');
  const second = await exchange(
    server,
    app,
    await obtainCode(
      server,
      app,
      { resource: BANK, authorization_details: JSON.stringify([OTHER_PAYMENT]) },
      { agent },
    ),
  );
  expect(second.body.authorization_details).toEqual([OTHER_PAYMENT]);
});

test('a request without details gets a token without, whatever was allowed before in this session', async () => {
  const agent = createUserAgent(server.issuer);
  await obtainCode(server, app, { resource: BANK, authorization_details: JSON.stringify([PAYMENT]) }, { agent });
  const plain = await obtainCode(server, app, { resource: BANK, scope: 'openid accounts' }, { agent });
  const answer = await exchange(server, app, plain);
  expect(answer.status).toBe(200);
  expect(answer.body.authorization_details ?? []).toEqual([]);
});

test('at the token endpoint details can be narrowed down, not exchanged for bigger ones (RFC 9396 §6.1)', async () => {
  const cheap = { ...PAYMENT, amount: { currency: 'EUR', value: '1.00' } };
  const narrowed = await exchange(server, app, await ask([PAYMENT, cheap]), {
    resource: BANK,
    authorization_details: JSON.stringify([cheap]),
  });
  expect(narrowed.body).toMatchObject({ authorization_details: [cheap] });
  const widened = await exchange(server, app, await ask([cheap]), {
    resource: BANK,
    authorization_details: JSON.stringify([OTHER_PAYMENT]),
  });
  expect([widened.status, widened.body.error]).toEqual([400, 'invalid_authorization_details']);
});

test('a code or refresh token without details gets none at the token endpoint: the user was never asked (RFC 9396 §6.1)', async () => {
  const form = { resource: BANK, authorization_details: JSON.stringify([PAYMENT]) };
  const plain = { resource: BANK, scope: 'openid accounts offline_access', prompt: 'consent' };
  const refused = [400, 'invalid_authorization_details'];
  const exchanged = await exchange(server, app, await obtainCode(server, app, plain), form);
  expect([exchanged.status, exchanged.body.error]).toEqual(refused);

  const { refreshToken } = toTokens(await exchange(server, app, await obtainCode(server, app, plain)));
  const refreshed = await refresh(server, app, refreshToken, form);
  expect([refreshed.status, refreshed.body.error]).toEqual(refused);
  expect((await refresh(server, app, refreshToken)).status).toBe(200);
});

test('a token for another API does not carry the details of the bank', async () => {
  const issued = await ask([PAYMENT], { scope: 'openid accounts open' });
  const both = await obtainCode(server, app, {
    scope: 'openid accounts open',
    resource: BANK,
    authorization_details: JSON.stringify([PAYMENT]),
  });
  expect(issued.code).not.toBe(both.code);
  const answer = await exchange(server, app, both, { resource: VAULT });
  expect(JSON.stringify(answer.body)).not.toContain('12.50');
});

describe('what is refused at the authorization endpoint', () => {
  const faults: [string, unknown, Record<string, string>?][] = [
    ['text that is not JSON', '{'],
    ['something that is not a list', { type: 'payment' }],
    ['a type that the bank does not know', [{ type: 'robbery' }]],
    ['a type that the client registered and the bank does not know', [{ type: 'cheque' }]],
    ['a member that the type does not have (RFC 9396 §5)', [{ ...PAYMENT, discount: '100%' }]],
    ['a member that is missing', [{ type: 'payment', creditor: 'x' }]],
    ['a value of the wrong kind', [{ ...PAYMENT, amount: 5 }]],
    ['text that users read in another order', [{ ...PAYMENT, creditor: '\u202epohs' }]],
    ['text that users do not see', [{ ...PAYMENT, creditor: 'shop\u200b' }]],
    ['a location that is another API', [{ ...PAYMENT, locations: [VAULT] }]],
    ['a type named like a member of every object', [{ type: '__proto__' }]],
    ['constructor as a type', [{ type: 'constructor' }]],
    ['no resource', [PAYMENT], { resource: '' }],
    ['the resource of another API', [PAYMENT], { resource: VAULT }],
  ];
  test.each(faults)('%s', async (_name, details, params = {}) => {
    const attempt = ask(details, params);
    await expect(attempt).rejects.toThrow(/error=invalid_(authorization_details|target)/);
  });

  test('but no text of another script, and none of several lines', async () => {
    await ask([{ ...PAYMENT, creditor: 'חנות\u200f (12)\nשורה 👩‍🚀' }]);
  });

  test('a client that did not register the type', async () => {
    const other = await server.admin.createClient(CODE_FLOW);
    await server.admin.allow(other.clientId, BANK, ['accounts']);
    await expect(ask([PAYMENT], {}, other)).rejects.toThrow(/invalid_authorization_details/);
  });
});

test('more than fifty are refused before they are compared, wherever they come: thousands would stop the server for seconds', async () => {
  const details = (count: number) => JSON.stringify(Array.from({ length: count }, () => PAYMENT));
  const tiny = JSON.stringify(Array.from({ length: 1_200 }, () => ({ type: 'payment' })));
  const { issuer } = server;
  const request = {
    ...{ client_id: app.clientId, response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', resource: BANK },
    ...{ code_challenge: pkcePair().challenge, code_challenge_method: 'S256' },
  };
  const object = new UnsecuredJWT({ ...request, authorization_details: JSON.parse(details(51)) }).encode();
  const machine = { grant_type: 'client_credentials', resource: BANK };
  const attempts = [
    postForm(`${issuer}/oauth2/par`, app, { ...request, authorization_details: details(51) }),
    postForm(`${issuer}/oauth2/par`, app, { ...request, authorization_details: tiny }),
    postForm(`${issuer}/oauth2/par`, app, { client_id: app.clientId, request: object }),
    postForm(`${issuer}/oauth2/token`, app, { ...machine, authorization_details: tiny }),
    postForm(`${issuer}/oauth2/token`, app, { ...machine, authorization_details: tiny }, { 'x-unusual': 'yes' }),
  ];
  for (const { status, body } of await Promise.all(attempts)) {
    expect([status, body.error]).toEqual([
      400,
      expect.stringMatching(/^invalid_(authorization_details|request_object)$/),
    ]);
    expect(body.error_description).toMatch(/authorization_details must have 50 entries at most$/);
  }
  const url = `${issuer}/oauth2/authorize?${new URLSearchParams({ ...request, authorization_details: details(51) })}`;
  expect((await fetch(url, { redirect: 'manual' })).status).toBe(400);
  const most = await postForm(`${issuer}/oauth2/par`, app, { ...request, authorization_details: details(50) });
  expect(most.status).toBe(201);
});

test('two APIs with a type of the same name: each must understand the detail, and the page has the words of both', async () => {
  const other = 'https://other-bank.example';
  const properties = { ...SCHEMA.properties, urgent: { type: 'boolean' } };
  await server.admin.createApi(other, {
    scopes: ['accounts'],
    authorization_details_types: { payment: { description: 'Pay at once', schema: { ...SCHEMA, properties } } },
  });
  await server.admin.allow(app.clientId, other, ['accounts']);
  const visit = async (detail: object) => {
    const url = authorizationUrl(server.issuer, {
      client_id: app.clientId,
      code_challenge: pkcePair().challenge,
      code_challenge_method: 'S256',
      resource: other,
      authorization_details: JSON.stringify([detail]),
    });
    const agent = createUserAgent(server.issuer);
    const page = await agent.visit(`${url}&${new URLSearchParams({ resource: BANK })}`);
    if (page.leavesTo !== undefined) return page.leavesTo.searchParams.get('error');
    return (await agent.submit(formAction(page.html, 'login'), { ...ALICE })).html;
  };
  // What only one of them knows would be in the token for the other.
  expect(await visit({ ...PAYMENT, urgent: true })).toBe('invalid_authorization_details');
  for (const location of [other, other.replace('https', 'HTTPS')]) {
    expect(await visit({ ...PAYMENT, urgent: true, locations: [location] })).toMatch(/>Pay at once</);
  }
  expect(await visit(PAYMENT)).toMatch(/>Pay at once; Pay</);
});

test('a machine may ask with client_credentials for what its API declares', async () => {
  const request = (details: unknown): Promise<Answer> =>
    import('../support/admin.ts').then(({ requestToken }) =>
      requestToken(server.issuer, app, { resource: BANK, authorization_details: JSON.stringify(details) }),
    );
  const answer = await request([PAYMENT]);
  expect(answer.body.authorization_details).toEqual([PAYMENT]);
  expect((await request([{ type: 'robbery' }])).body.error).toBe('invalid_authorization_details');
});

test('a type that the bank takes away is in no answer any more', async () => {
  const { accessToken } = toTokens(await exchange(server, app, await ask([PAYMENT])));
  const path = `/resource-servers/${encodeURIComponent(BANK)}`;
  await server.admin.request('PATCH', path, { authorization_details_types: {} });
  const { body } = await introspect(server.issuer, bank, accessToken);
  expect(body.active).toBe(true);
  expect(body.authorization_details ?? []).toEqual([]);
  await server.admin.request('PATCH', path, {
    authorization_details_types: { payment: { description: 'Pay', schema: SCHEMA } },
  });
});

test('discovery lists the types that are declared now', async () => {
  const metadata = await (await fetch(`${server.issuer}/.well-known/openid-configuration`)).json();
  expect(metadata).toMatchObject({ authorization_details_types_supported: ['payment'] });
});

test('a schema that is none is refused at registration, with the place', async () => {
  const { status, body } = await server.admin.request('POST', '/resource-servers', {
    identifier: 'https://broken.example',
    authorization_details_types: { x: { description: 'X', schema: { properties: { a: { type: 'nonsense' } } } } },
  });
  expect(status).toBe(400);
  expect(JSON.stringify(body)).toContain('/authorization_details_types/x/schema');
});
