// Requests of many clients share statements. What one of them sends must not cost the others their
// answer, nor make their statement run once for each of them.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { requestToken, type TestClient } from '../support/admin.ts';
import { ALICE, authorizationUrl, CODE_FLOW, obtainTokens, PUBLIC, tally } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, pkcePair, type UserAgent } from '../support/user-agent.ts';

const API = 'https://opaque.example';

let server: TestServer;
let app: TestClient;
let service: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  service = await server.admin.createClient();
  await server.admin.createApi(API, { scopes: ['read'], access_token_format: 'opaque' });
  await server.admin.allow(service.clientId, API, ['read']);
});
afterAll(() => server.stop());

/**
 * An authorization request of a user who is signed in and has allowed the app: it stores a code at
 * once.
 */
function authorize(agent: UserAgent, claims: string) {
  const url = authorizationUrl(server.issuer, {
    client_id: app.clientId,
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
  });
  // With brackets as they are: encoded, the line would be longer than Node accepts.
  return agent.visit(`${url}&claims=${claims}`);
}

/** Token requests of another client, until `isOver`. */
async function requestTokensOf(client: TestClient, isOver: () => boolean) {
  const answers = [];
  while (!isOver()) {
    answers.push(...(await Promise.all(Array.from({ length: 16 }, () => requestToken(server.issuer, client)))));
  }
  return answers;
}

const nested = (levels: number) => `${'['.repeat(levels)}${']'.repeat(levels)}`;

// An attacker with an account would shut every other client out of the token endpoint.
test('a user who asks for claims that are nested 6,000 deep disturbs no token request of others', async () => {
  const agent = createUserAgent(server.issuer);
  await obtainTokens(server, app, { claims: '{"id_token":{"name":null}}' }, { agent });
  const claims = `{"id_token":{"name":{"value":${nested(6_000)}}}}`;
  let isOver = false;
  const attack = (async () => {
    for (let round = 0; round < 4; round++) {
      await Promise.all(Array.from({ length: 6 }, () => authorize(agent, claims)));
    }
    isOver = true;
  })();
  const answers = await requestTokensOf(service, () => isOver);
  await attack;
  expect(answers.length).toBeGreaterThan(15);
  expect(tally(answers)).toEqual({ succeeded: answers.length, refusals: [] });
});
