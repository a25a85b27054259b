// kill -9 of the server while the audit event of a request waits for a lock: the request has no answer
// yet, and what it does is stored together with its event, or not at all.

import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { createAdminClient, introspect, requestToken, revoke, type TestClient } from '../support/admin.ts';
import { ALICE, CODE_FLOW, exchange, obtainCode, obtainTokens } from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import {
  type LanyardProcess,
  makeHome,
  postmasterOf,
  removeHome,
  start,
  stop,
  stopAll,
  withDatabase,
} from '../support/process.ts';
import { freePort, type TestServer } from '../support/server.ts';

const APIS = { jwt: 'https://jwt.example', opaque: 'https://opaque.example' } as const;

let home: string;
let port: number;
let app: TestClient;

beforeAll(async () => {
  home = await makeHome();
  port = await freePort();
  const lanyard = await start({ home, port });
  const admin = createAdminClient(lanyard.issuer, lanyard.adminSecret as string);
  await admin.createUser(ALICE.username, ALICE.password);
  app = await admin.createClient({ ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] });
  for (const [access_token_format, api] of Object.entries(APIS)) {
    await admin.createApi(api, { scopes: ['read'], access_token_format });
    await admin.allow(app.clientId, api, ['read']);
  }
  expect(await stop(lanyard)).toBe(0);
});
afterEach(stopAll);
afterAll(() => removeHome(home));

async function count(text: string): Promise<number> {
  return withDatabase(home, async (sql) => Number((await sql.query(`SELECT count(*) ${text}`)).rows[0].count));
}

const isBlocked = async () => (await count("FROM pg_stat_activity WHERE wait_event_type = 'Lock'")) > 0;
const isServerGone = async () => (await count("FROM pg_stat_activity WHERE application_name = 'lanyard'")) === 0;

/** Kills the server while the request waits. @returns what became of the request */
async function killWhileAuditIsLocked(lanyard: LanyardProcess, send: () => Promise<unknown>): Promise<string> {
  return withDatabase(home, async (sql) => {
    await sql.query('BEGIN; LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE');
    const outcome = send().then(
      () => 'answered',
      () => 'no answer',
    );
    await until(isBlocked, 'a statement that waits');
    lanyard.kill('SIGKILL');
    await lanyard.exited;
    await sql.query('COMMIT');
    await until(isServerGone, 'the end of what the server had begun');
    return outcome;
  });
}

interface Case {
  /** that the request ends */
  readonly live: string;
  readonly send: () => Promise<unknown>;
}

const as = (lanyard: LanyardProcess) => ({ issuer: lanyard.issuer }) as TestServer;
const forUser = (lanyard: LanyardProcess) =>
  obtainTokens(as(lanyard), app, { scope: 'openid read', resource: APIS.opaque });
const ownToken = async ({ issuer }: LanyardProcess, resource: string) =>
  String((await requestToken(issuer, app, { resource })).body.access_token);

const revocation = async (lanyard: LanyardProcess, live: string): Promise<Case> => {
  return { live, send: () => revoke(lanyard.issuer, app, live) };
};

const CASES: [name: string, type: string, prepare: (lanyard: LanyardProcess) => Promise<Case>][] = [
  ['the revocation of a JWT', 'token.revoked', async (it) => revocation(it, await ownToken(it, APIS.jwt))],
  ['the revocation of an opaque token', 'token.revoked', async (it) => revocation(it, await ownToken(it, APIS.opaque))],
  [
    'the revocation of a refresh token',
    'token.revoked',
    async (it) => revocation(it, (await forUser(it)).refreshToken),
  ],
  [
    'the replay of a code',
    'token.replayed',
    async (lanyard) => {
      const issued = await obtainCode(as(lanyard), app, { scope: 'openid read', resource: APIS.opaque });
      const { body } = await exchange(as(lanyard), app, issued);
      return { live: String(body.access_token), send: () => exchange(as(lanyard), app, issued) };
    },
  ],
];

test.each(CASES)('%s is stored with its event or not at all', async (_name, type, prepare) => {
  const lanyard = await start({ home, port });
  const { live, send } = await prepare(lanyard);
  const recorded = () => count(`FROM audit_events WHERE type = '${type}'`);
  const before = await recorded();
  expect(await killWhileAuditIsLocked(lanyard, send)).toBe('no answer');
  expect(await postmasterOf(home)).toBeDefined();
  const hasEvent = (await recorded()) > before;

  const again = await start({ home, port });
  const { body } = await introspect(again.issuer, app, live);
  expect(body.active).toBe(!hasEvent);
  expect(await stop(again)).toBe(0);
});
