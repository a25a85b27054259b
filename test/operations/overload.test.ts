// More requests than the database can take, and connections that die under them: a request that cannot be served is
// refused at once, none hangs, and no token is answered that is not stored.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { type Answer, introspect, requestToken, type TestClient } from '../support/admin.ts';
import { countBlocked, type HeldLock, killBlocked, killNamed, lockTable } from '../support/hold.ts';
import { clientToken, isActive, loggedFailures } from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://opaque.example';
const QUEUE = 5;
const EXCESS = 60;
/** As many statements of one kind run at a time; the first of each crowd takes as many as have come by then. */
const COMMITS = 1;
const LOOK_UPS = 2;

let server: TestServer;
let app: TestClient;
let lock: HeldLock | undefined;

beforeAll(async () => {
  server = await startTestServer({ LANYARD_DATABASE_QUEUE_SIZE: String(QUEUE), LANYARD_DATABASE_POOL_SIZE: '10' });
  await server.admin.createApi(API, { scopes: ['read'], access_token_format: 'opaque' });
  app = await server.admin.createClient();
  await server.admin.allow(app.clientId, API, ['read']);
});
afterEach(async () => {
  await lock?.release();
  lock = undefined;
});
afterAll(() => server.stop());

async function lockArtifacts(): Promise<void> {
  lock = await lockTable(server.connectionString, 'oidc_artifacts');
}

async function unlock(): Promise<void> {
  await lock?.release();
  lock = undefined;
}

const getToken = () => requestToken(server.issuer, app);

/** Sends one after the other, so that each takes a place of its own, until all statements block and the queue is full. */
async function fillUp(send: () => Promise<Answer>, statements: number): Promise<Promise<Answer>[]> {
  const waiting: Promise<Answer>[] = [];
  for (let running = 1; running <= statements; running++) {
    waiting.push(send());
    await until(async () => (await countBlocked(server.sql)) === running, `${running} statements wait`);
  }
  for (let place = 0; place < QUEUE; place++) waiting.push(send());
  return waiting;
}

describe('while the database does not answer', () => {
  test.each<[string, number, (token: string) => Promise<Answer>]>([
    ['/oauth2/token', COMMITS, () => getToken()],
    ['/oauth2/introspect', LOOK_UPS, (token) => introspect(server.issuer, app, token)],
  ])('%s refuses at once whom it cannot queue, and answers the others when it can', async (_path, statements, send) => {
    const token = await clientToken(server, app);
    const linesBefore = server.logLines.length;
    await lockArtifacts();
    let answered = 0;
    const counted = async () => {
      const answer = await send(token);
      answered++;
      return answer;
    };
    const waiting = await fillUp(counted, statements);
    const crowd = Array.from({ length: EXCESS }, counted);
    // The first ones fill the queue; the excess is refused while all statements are still blocked.
    await until(() => answered === EXCESS, 'the refusals');
    expect(await countBlocked(server.sql)).toBe(statements);

    await unlock();
    const answers = await Promise.all([...waiting, ...crowd]);
    const refused = answers.filter(({ status }) => status !== 200);
    expect(answers.length - refused.length).toBe(statements + QUEUE);
    for (const { status, headers, body } of refused) {
      expect([status, headers.get('retry-after'), body.error]).toEqual([503, '1', 'temporarily_unavailable']);
      expect(headers.get('cache-control')).toMatch(/no-store/);
      expect(body).not.toHaveProperty('access_token');
    }
    expect((await send(token)).status).toBe(200);
    expect(loggedFailures(server, linesBefore)).toEqual([]);
  });

  test('every token that was answered is stored, and each has its audit event', async () => {
    const before = await countIssued();
    await lockArtifacts();
    const waiting = await fillUp(getToken, COMMITS);
    const crowd = Array.from({ length: EXCESS }, getToken);
    await unlock();
    const answers = await Promise.all([...waiting, ...crowd]);
    const tokens = answers.filter(({ status }) => status === 200).map(({ body }) => String(body.access_token));
    for (const token of tokens) expect(await isActive(server, app, token)).toBe(true);
    expect(new Set(tokens).size).toBe(tokens.length);
    expect((await countIssued()) - before).toBe(tokens.length);
  });
});

describe('database connections that die', () => {
  test('under waiting requests give a clean error and no token; those behind them are answered', async () => {
    const before = await countIssued();
    await lockArtifacts();
    const waiting = await fillUp(getToken, COMMITS);
    expect(await killBlocked(server.sql)).toBe(COMMITS);
    const failed = await Promise.all(waiting.slice(0, COMMITS));
    for (const { status, body } of failed) {
      expect([status, body.error]).toEqual([503, 'temporarily_unavailable']);
      expect(body).not.toHaveProperty('access_token');
    }
    await unlock();
    const others = await Promise.all(waiting.slice(COMMITS));
    expect(others.map(({ status }) => status)).toEqual(others.map(() => 200));
    expect((await countIssued()) - before).toBe(others.length);
  });

  test('under introspections give a decent answer in the end', async () => {
    const token = await clientToken(server, app);
    await lockArtifacts();
    const waiting = await fillUp(() => introspect(server.issuer, app, token), LOOK_UPS);
    expect(await killBlocked(server.sql)).toBe(LOOK_UPS);
    await unlock();
    for (const { status, body } of await Promise.all(waiting)) {
      // Either it was asked again, or it says in the engine's words that it could not be.
      if (status === 200) expect(body.active).toBe(true);
      else expectClean(status, body.error);
    }
  });

  test('all of them, again and again under load: no hang, and every token that was answered is there', async () => {
    const answers: Answer[] = [];
    let isOver = false;
    const load = Array.from({ length: 4 }, async () => {
      while (!isOver) answers.push(await getToken());
    });
    for (let round = 0; round < 15; round++) {
      const enough = answers.length + 20;
      await until(() => answers.length >= enough, 'answers after connections were killed');
      await killNamed(server.sql, 'lanyard');
      if (round % 5 === 0) await killNamed(server.sql, 'lanyard-changes');
    }
    isOver = true;
    await Promise.all(load);
    for (const { status, body } of answers) {
      if (status === 200) continue;
      expectClean(status, body.error);
      expect(body).not.toHaveProperty('access_token');
    }
    const tokens = answers.filter(({ status }) => status === 200).map(({ body }) => String(body.access_token));
    expect(tokens.length).toBeGreaterThan(100);
    for (const token of tokens) expect(await isActive(server, app, token)).toBe(true);
    expect((await getToken()).status).toBe(200);
  });
});

function expectClean(status: number, error: unknown): void {
  expect(`${status} ${error}`).toBe('503 temporarily_unavailable');
}

async function countIssued(): Promise<number> {
  const { rows } = await server.sql.query(
    `SELECT count(*)::int AS count FROM audit_events WHERE type = 'token.issued' AND client_id = $1`,
    [app.clientId],
  );
  return rows[0].count;
}
