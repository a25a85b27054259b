// POST /oauth2/token is one transaction: when the database refuses a part of it, nothing is stored,
// and the code or refresh token of the client stays valid.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { postForm, type TestClient } from '../support/admin.ts';
import {
  ALICE,
  CODE_FLOW,
  exchange,
  isActive,
  obtainCode,
  obtainTokens,
  PUBLIC,
  refresh,
  tally,
  toTokens,
} from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://opaque.example';

let server: TestServer;
let api: TestClient;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createUser(ALICE.username, ALICE.password);
  app = await server.admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  api = await server.admin.createClient();
  const members = { scopes: ['read'], introspection_client_id: api.clientId };
  await server.admin.createApi(API, { ...members, access_token_format: 'opaque' });
  await server.admin.allow(app.clientId, API, ['read']);
  await server.sql.query(`
    CREATE FUNCTION refuse_for_the_test() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE EXCEPTION 'refused for the test'; END $$`);
});
afterEach(() => server.sql.query('DROP TRIGGER IF EXISTS refuse_for_the_test ON oidc_artifacts'));
afterAll(() => server.stop());

const REQUEST = { scope: 'openid read', resource: API };

/** From now on the database refuses new rows of this model. */
function breakInsertsOf(model: string) {
  return server.sql.query(`
    CREATE TRIGGER refuse_for_the_test BEFORE INSERT ON oidc_artifacts FOR EACH ROW
    WHEN (NEW.model = '${model}') EXECUTE FUNCTION refuse_for_the_test()`);
}

function repair() {
  return server.sql.query('DROP TRIGGER refuse_for_the_test ON oidc_artifacts');
}

/** Everything that a token request writes. */
async function written() {
  const { rows } = await server.sql.query(`
    SELECT (SELECT json_agg(a ORDER BY a.model, a.id) FROM (SELECT model, id, consumed_at FROM oidc_artifacts) a) AS artifacts,
           (SELECT count(*) FROM audit_events WHERE type LIKE 'token.%') AS events`);
  return rows[0];
}

describe.each(['RefreshToken', 'AccessToken'])('when the %s cannot be stored', (model) => {
  test('a refresh changes nothing: the old token stays valid', async () => {
    const { refreshToken } = await obtainTokens(server, app, REQUEST);
    const before = await written();
    await breakInsertsOf(model);
    const { status, body } = await refresh(server, app, refreshToken);
    expect([status, body]).toEqual([500, { error: 'server_error', error_description: expect.any(String) }]);
    expect(await written()).toEqual(before);

    await repair();
    const tokens = toTokens(await refresh(server, app, refreshToken));
    expect(await isActive(server, api, tokens.accessToken)).toBe(true);
    expect((await refresh(server, app, tokens.refreshToken)).status).toBe(200);
  });

  test('a code exchange changes nothing: the code stays valid', async () => {
    const issued = await obtainCode(server, app, REQUEST);
    const before = await written();
    await breakInsertsOf(model);
    expect((await exchange(server, app, issued)).status).toBe(500);
    expect(await written()).toEqual(before);

    await repair();
    const tokens = toTokens(await exchange(server, app, issued));
    expect(await isActive(server, api, tokens.accessToken)).toBe(true);
  });
});

test('a code stays valid when the request is refused after it was read', async () => {
  const issued = await obtainCode(server, app, REQUEST);
  const before = await written();
  const refused = await exchange(server, app, issued, { resource: 'https://unknown.example' });
  expect([refused.status, refused.body.error]).toEqual([400, 'invalid_target']);
  expect(await written()).toEqual(before);
  expect((await exchange(server, app, issued)).status).toBe(200);
});

test.each(['/oauth2/TOKEN', '/oauth2/token/', '/oauth2/Token/'])(
  'another spelling of the path (%s) does not bypass the transaction',
  async (path) => {
    const issued = await obtainCode(server, app, REQUEST);
    const form = {
      grant_type: 'authorization_code',
      code: issued.code,
      code_verifier: issued.verifier,
      redirect_uri: 'https://app.example/callback',
    };
    const answers = await Promise.all(Array.from({ length: 5 }, () => postForm(`${server.issuer}${path}`, app, form)));
    expect(tally(answers)).toEqual({ succeeded: 0, refusals: ['404 not_found'] });
    expect((await exchange(server, app, issued)).status).toBe(200);
  },
);
