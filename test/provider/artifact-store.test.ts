// Batches of reads and writes on two nodes: units are whole or nothing, and what may happen once
// happens once.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { createLog } from '../../src/log.ts';
import {
  AlreadyConsumedError,
  type ArtifactStore,
  createArtifactStore,
} from '../../src/provider/storage/artifact-store.ts';
import type { Artifact } from '../../src/provider/storage/artifacts.ts';
import { markSessionEnded } from '../../src/provider/storage/ended-sessions.ts';
import type { Write } from '../../src/provider/storage/writes.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { countBlocked, lockTable } from '../support/hold.ts';
import { until } from '../support/patience.ts';

const log = createLog('silent');

let testDatabase: TestDatabase;
let databases: Database[];
let nodes: [ArtifactStore, ArtifactStore];
let sql: pg.Pool;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  databases = [1, 2].map(() => createDatabase({ connectionString, poolSize: 6, queueSize: 5_000, log }));
  nodes = databases.map((database) => createArtifactStore(database)) as [ArtifactStore, ArtifactStore];
  sql = new pg.Pool({ connectionString, max: 2 });
});
afterAll(async () => {
  for (const database of databases) await database.close();
  await sql.end();
  await testDatabase.drop();
});

const newId = () => randomBytes(32);

function artifact(model: string, id: Buffer, members: Partial<Artifact> = {}): Artifact {
  const nothing = {
    clientId: undefined,
    accountId: undefined,
    grantId: undefined,
    uid: undefined,
    userCode: undefined,
  };
  return { model, id, payload: {}, issuedAt: 1_700_000_000, expiresAt: 4_000_000_000, ...nothing, ...members };
}
const upsert = (model: string, id: Buffer, members?: Partial<Artifact>): Write => {
  return { kind: 'upsert', artifact: artifact(model, id, members) };
};
const consume = (id: Buffer): Write => ({ kind: 'consume', model: 'RefreshToken', id });
const audit = (requestId: string): Write => {
  return { kind: 'audit', event: { type: 'token.issued', actor: 'system', requestId } };
};

async function countAudits(like: string): Promise<number> {
  return (await sql.query('SELECT count(*)::int AS count FROM audit_events WHERE request_id LIKE $1', [like])).rows[0]
    .count;
}

async function areStored(ids: readonly Buffer[]): Promise<boolean[]> {
  const found = await Promise.all(ids.map((id) => nodes[0].find('AccessToken', id)));
  return found.map((row) => row !== undefined);
}

describe('a unit', () => {
  test('is stored as a whole, and found with all it had', async () => {
    const [id, grantId] = [newId(), newId()];
    const members = {
      payload: { a: ['\0', 1] },
      clientId: 'app',
      accountId: 'alice',
      grantId,
      uid: 'uid',
      userCode: 'C',
    };
    await nodes[0].commit([upsert('AccessToken', id, members), audit('whole')]);
    expect(await nodes[1].find('AccessToken', id)).toEqual({
      payload: { a: ['\0', 1] },
      clientId: 'app',
      accountId: 'alice',
      issuedAt: 1_700_000_000,
      consumedAt: undefined,
    });
    expect(await countAudits('whole')).toBe(1);
  });

  test('of which one write cannot be stored is not stored at all, and disturbs no other in its statement', async () => {
    const ids = Array.from({ length: 30 }, newId);
    const results = await Promise.allSettled(
      ids.map((id, number) =>
        nodes[0].commit([
          upsert('AccessToken', id, number === 7 ? { clientId: 'a\0b' } : {}),
          audit(number === 9 ? 'faulty \0' : `faulty ${number}`),
        ]),
      ),
    );
    const expected = ids.map((_, number) => number !== 7 && number !== 9);
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual(expected);
    expect(await areStored(ids)).toEqual(expected);
    expect(await countAudits('faulty%')).toBe(28);
  });

  test('that saves an artifact twice keeps its last state, also beside another model of the same id', async () => {
    const id = newId();
    await nodes[0].commit([
      upsert('AccessToken', id, { payload: { state: 'first' } }),
      upsert('Grant', id, { payload: { state: 'of the grant' } }),
      upsert('AccessToken', id, { payload: { state: 'last' } }),
    ]);
    expect((await nodes[0].find('AccessToken', id))?.payload).toEqual({ state: 'last' });
    expect((await nodes[0].find('Grant', id))?.payload).toEqual({ state: 'of the grant' });
  });

  test('that would consume two artifacts is a mistake of ours', async () => {
    await expect(nodes[0].commit([consume(newId()), consume(newId())])).rejects.toThrow('one artifact');
  });

  test('consumes only what exists', async () => {
    const id = newId();
    await expect(nodes[0].commit([consume(newId()), upsert('AccessToken', id)])).rejects.toThrow(AlreadyConsumedError);
    expect(await areStored([id])).toEqual([false]);
  });
});

describe('of 50 units that consume the same refresh token at once over two nodes', () => {
  test.each([1, 2, 3])('one is stored, and an attacker who lost the race gets no token (round %d)', async (round) => {
    const spent = newId();
    await nodes[0].commit([upsert('RefreshToken', spent)]);
    const ids = Array.from({ length: 50 }, newId);
    const others = Array.from({ length: 50 }, newId);
    const [results] = await Promise.all([
      Promise.allSettled(
        ids.map((id, number) => {
          const node = nodes[number % 2] as ArtifactStore;
          return node.commit([upsert('AccessToken', id), consume(spent), audit(`race ${round} ${number}`)]);
        }),
      ),
      Promise.all(others.map((id, number) => nodes[number % 2]?.commit([upsert('AccessToken', id)]))),
    ]);
    const hasWon = results.map(({ status }) => status === 'fulfilled');
    expect(hasWon.filter(Boolean)).toHaveLength(1);
    for (const result of results) {
      if (result.status === 'fulfilled') continue;
      expect(result.reason).toBeInstanceOf(AlreadyConsumedError);
      expect(result.reason).toMatchObject({ model: 'RefreshToken', artifactId: spent });
    }
    expect(await areStored(ids)).toEqual(hasWon);
    expect(await countAudits(`race ${round} %`)).toBe(1);
    expect(await countAudits(`race ${round} ${hasWon.indexOf(true)}`)).toBe(1);
    expect(await areStored(others)).toEqual(others.map(() => true));
    expect(await nodes[1].find('RefreshToken', spent)).toMatchObject({ consumedAt: expect.any(Number) });
  });
});

test('what is saved again stays consumed: a spent code does not come back to life', async () => {
  const id = newId();
  await nodes[0].commit([upsert('RefreshToken', id)]);
  await nodes[0].commit([consume(id)]);
  await nodes[1].commit([upsert('RefreshToken', id, { payload: { rotated: true } })]);
  expect(await nodes[0].find('RefreshToken', id)).toMatchObject({
    payload: { rotated: true },
    consumedAt: expect.any(Number),
  });
  await expect(nodes[1].commit([consume(id)])).rejects.toThrow(AlreadyConsumedError);
});

test('an artifact that several units of one statement save is stored, and no unit fails', async () => {
  const id = newId();
  const others = Array.from({ length: 20 }, newId);
  await Promise.all(
    others.map((other, number) =>
      nodes[0].commit([upsert('Session', id, { payload: { number } }), upsert('AccessToken', other)]),
    ),
  );
  expect((await nodes[0].find('Session', id))?.payload).toEqual({ number: expect.any(Number) });
  expect(await areStored(others)).toEqual(others.map(() => true));
});

test('a token that is consumed and saved at the same moment ends consumed, and no other unit fails', async () => {
  const id = newId();
  await nodes[0].commit([upsert('RefreshToken', id)]);
  const others = Array.from({ length: 10 }, newId);
  await Promise.all([
    nodes[0].commit([consume(id)]),
    nodes[0].commit([upsert('RefreshToken', id, { payload: { saved: 'again' } })]),
    ...others.map((other) => nodes[0].commit([upsert('AccessToken', other)])),
  ]);
  const found = await nodes[1].find('RefreshToken', id);
  expect(found).toMatchObject({ payload: { saved: 'again' }, consumedAt: expect.any(Number) });
  expect(await areStored(others)).toEqual(others.map(() => true));
});

test('statements that lock the same rows in opposite order all end, and all are stored', async () => {
  const shared = Array.from({ length: 40 }, newId);
  for (let round = 0; round < 10; round++) {
    // Each node's statement holds all of them, one upwards, one downwards.
    await Promise.all([
      ...shared.map((id) => nodes[0].commit([upsert('Session', id, { payload: { round } }), audit('order')])),
      ...shared
        .toReversed()
        .map((id) => nodes[1].commit([upsert('Session', id, { payload: { round } }), audit('order')])),
    ]);
  }
  for (const id of shared) expect((await nodes[0].find('Session', id))?.payload).toEqual({ round: 9 });
  expect(await countAudits('order')).toBe(800);
});

describe('of models that lie in different partitions', () => {
  const MODELS = ['AuthorizationCode', 'RefreshToken', 'DeviceCode', 'AccessToken', 'Session'];

  test('those that share a statement are consumed together, each once', async () => {
    const units = MODELS.map((model) => ({ model, id: newId(), token: newId() }));
    for (const { model, id } of units) await nodes[0].commit([upsert(model, id)]);
    const consumeAll = () =>
      Promise.allSettled(
        units.map(({ model, id, token }) =>
          nodes[0].commit([{ kind: 'consume', model, id }, upsert('AccessToken', token)]),
        ),
      );
    expect((await consumeAll()).map(({ status }) => status)).toEqual(MODELS.map(() => 'fulfilled'));
    expect(await areStored(units.map(({ token }) => token))).toEqual(MODELS.map(() => true));
    const { rows } = await sql.query('SELECT DISTINCT consumed_at FROM oidc_artifacts WHERE id = ANY($1)', [
      units.map(({ id }) => id),
    ]);
    expect(rows).toEqual([{ consumed_at: expect.any(Date) }]); // the instant of the one statement
    const again = await consumeAll();
    expect(again.map((result) => result.status === 'rejected' && result.reason)).toEqual(
      units.map(({ model, id }) => expect.objectContaining({ name: 'AlreadyConsumedError', model, artifactId: id })),
    );
  });

  test('each is found as what it is, and under no other name', async () => {
    const keys = MODELS.map((model) => ({ model, id: newId() }));
    for (const { model, id } of keys) await nodes[0].commit([upsert(model, id, { payload: { model } })]);
    const found = await Promise.all(keys.map(({ model, id }) => nodes[1].find(model, id)));
    expect(found.map((stored) => stored?.payload)).toEqual(MODELS.map((model) => ({ model })));
    const others = await Promise.all(keys.map(({ id }, at) => nodes[1].find(MODELS.at(at - 1) as string, id)));
    expect(others).toEqual(MODELS.map(() => undefined));
  });
});

describe('find', () => {
  test('gives each of many callers its own row, and nothing to who asks for what is not there', async () => {
    const ids = Array.from({ length: 300 }, newId);
    await Promise.all(ids.map((id, number) => nodes[0].commit([upsert('AccessToken', id, { payload: { number } })])));
    const asked = ids.flatMap((id) => [id, newId()]);
    const found = await Promise.all(asked.map((id) => nodes[1].find('AccessToken', id)));
    found.forEach((row, position) => {
      if (position % 2 === 1) expect(row).toBeUndefined();
      else expect(row?.payload).toEqual({ number: position / 2 });
    });
  });

  test('by uid gives all that have it, the one that lasts longest first, to each of many callers', async () => {
    const of = (uid: string, expiresAt: number) =>
      nodes[0].commit([upsert('Session', newId(), { uid, expiresAt, payload: { uid, expiresAt } })]);
    for (const uid of ['one', 'two']) for (const after of [500, 900, 100]) await of(uid, 4_000_000_000 + after);
    const [one, none, two] = await Promise.all(['one', 'none', 'two'].map((uid) => nodes[1].findSessions(uid)));
    const order = [900, 500, 100].map((after) => 4_000_000_000 + after);
    expect(one?.map(({ payload }) => payload)).toEqual(order.map((expiresAt) => ({ uid: 'one', expiresAt })));
    expect(two?.map(({ payload }) => payload)).toEqual(order.map((expiresAt) => ({ uid: 'two', expiresAt })));
    expect(none).toEqual([]);
  });

  test('of the status of JWTs, each of many callers hears of its own', async () => {
    const [revoked, grantId] = [newId(), newId()];
    await nodes[0].commit([upsert('Grant', grantId, { accountId: 'alice' })]);
    await sql.query(`INSERT INTO revoked_tokens VALUES ($1, 'infinity')`, [revoked]);
    const [a, b, c, d] = await Promise.all([
      nodes[1].findJwtStatus(newId(), undefined),
      nodes[1].findJwtStatus(revoked, grantId),
      nodes[1].findJwtStatus(newId(), grantId),
      nodes[1].findJwtStatus(newId(), newId()),
    ]);
    expect(a).toEqual({ isRevoked: false, accountId: undefined });
    expect(b).toEqual({ isRevoked: true, accountId: 'alice' });
    expect(c).toEqual({ isRevoked: false, accountId: 'alice' });
    expect(d).toEqual({ isRevoked: false, accountId: undefined });
  });
});

describe('what one request sends', () => {
  const nest = (levels: number) => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);
  const cycle: Record<string, unknown> = {};
  cycle.self = cycle;

  /** A node of its own that counts its statements. */
  function createCounted() {
    const sizes: number[] = [];
    const metrics = {
      observeBatch: (_: string, size: number) => sizes.push(size),
      watchQueue() {},
      cacheRequested() {},
    };
    return { sizes, node: createArtifactStore(databases[0] as Database, metrics) };
  }

  // A signed-in user could fail the token requests of others, or make each of them cost a statement
  // of its own.
  test.each<[string, Write]>([
    ['a payload that is nested 6,000 deep', upsert('AccessToken', newId(), { payload: { claims: nest(6_000) } })],
    ['a payload with a cycle', upsert('AccessToken', newId(), { payload: cycle })],
    ['a payload with a BigInt', upsert('AccessToken', newId(), { payload: { value: 1n } })],
    ['no payload', upsert('AccessToken', newId(), { payload: undefined })],
    ['NUL in a column', upsert('AccessToken', newId(), { clientId: 'a\0b' })],
    ['a lone surrogate in a column', upsert('AccessToken', newId(), { accountId: 'a\ud800' })],
    ['a number where text belongs', upsert('AccessToken', newId(), { uid: 7 as never })],
    ['an instant that is none', upsert('AccessToken', newId(), { issuedAt: Number.NaN })],
    [
      'NUL in the detail of an event',
      { kind: 'audit', event: { type: 'token.issued', actor: 'system', detail: { scope: 'a\0b' } } },
    ],
  ])('fails alone and before it shares a statement: %s', async (_name, faulty) => {
    const { sizes, node } = createCounted();
    const ids = Array.from({ length: 30 }, newId);
    const commits = ids.map((id) => node.commit([upsert('AccessToken', id)]));
    await expect(node.commit([upsert('AccessToken', newId()), faulty])).rejects.toThrow();
    await Promise.all(commits);
    expect(sizes).toEqual([15, 15]);
    expect(await areStored(ids)).toEqual(ids.map(() => true));
  });

  test('does not keep PostgreSQL from reading it together with what others have sent', async () => {
    const odd = [{ nonce: 'a\0b' }, { nonce: '\ud800' }, { claims: nest(3_000) }].map((payload) => ({
      id: newId(),
      payload: { ...payload, expiresWithSession: false, sessionUid: 'of somebody' },
    }));
    for (const { id, payload } of odd) await nodes[0].commit([upsert('AuthorizationCode', id, { payload })]);
    const ids = Array.from({ length: 30 }, newId);
    await Promise.all(ids.map((id) => nodes[0].commit([upsert('AuthorizationCode', id)])));
    const { sizes, node } = createCounted();
    const asked = [...odd.map(({ id }) => id), ...ids];
    const found = await Promise.all(asked.map((id) => node.findTokenWithGrant('AuthorizationCode', id)));
    expect(found.map((stored) => stored?.source.payload)).toEqual([
      ...odd.map(({ payload }) => payload),
      ...ids.map(() => ({})),
    ]);
    expect(sizes).toEqual([33]);
  });

  test('is a limit of PostgreSQL (a key too long for its index): found by bisection, the others are stored', async () => {
    const { sizes, node } = createCounted();
    const ids = Array.from({ length: 30 }, newId);
    const long = Array.from({ length: 300 }, () => randomBytes(32).toString('hex')).join('');
    const units = ids.map((id, number) => [upsert('AccessToken', id, number === 3 ? { clientId: long } : {})]);
    const results = await Promise.allSettled(units.map((unit) => node.commit(unit)));
    expect(results.map(({ status }) => status === 'fulfilled')).toEqual(ids.map((_, number) => number !== 3));
    expect(results[3]).toMatchObject({ reason: { code: '54000' } });
    expect(await areStored(ids)).toEqual(ids.map((_, number) => number !== 3));
    expect(sizes.length).toBeLessThan(15);
  });
});

describe('the session that a token ends with', () => {
  const ofSession = (uid: string) => ({ expiresWithSession: true, sessionUid: uid });

  async function storeSession(uid: string, expiresAt: number) {
    await nodes[0].commit([upsert('Session', newId(), { uid, expiresAt, payload: { uid, expiresAt } })]);
  }

  test.each([
    ['a row of today, which names it in a column', true],
    ['a row of an earlier version, which names it in its payload only', false],
  ])('is found with it, the one that lasts longest, until it has ended: %s', async (_name, hasColumn) => {
    const [uid, id] = [newId().toString('hex'), newId()];
    await nodes[0].commit([upsert('RefreshToken', id, { payload: ofSession(uid), ...(hasColumn ? { uid } : {}) })]);
    const session = async () => (await nodes[1].findTokenWithGrant('RefreshToken', id))?.session;
    expect(await session()).toBeUndefined();
    await storeSession(uid, 4_000_000_100);
    await storeSession(uid, 4_000_000_900);
    await storeSession(newId().toString('hex'), 4_000_001_000);
    expect(await session()).toMatchObject({ payload: { expiresAt: 4_000_000_900 } });
    await markSessionEnded((databases[0] as Database).query, uid, 60);
    expect(await session()).toBeUndefined();
  });

  test('is not looked for where the token outlives it', async () => {
    const [uid, id] = [newId().toString('hex'), newId()];
    await storeSession(uid, 4_000_000_100);
    await nodes[0].commit([upsert('RefreshToken', id, { payload: { ...ofSession(uid), expiresWithSession: false } })]);
    expect(await nodes[1].findTokenWithGrant('RefreshToken', id)).toMatchObject({ session: undefined });
  });
});

test('a unit is not answered before it is committed', async () => {
  const lock = await lockTable(testDatabase.connectionString, 'audit_events');
  const id = newId();
  let isAnswered = false;
  const unit = nodes[0].commit([upsert('AccessToken', id), audit('late')]).then(() => {
    isAnswered = true;
  });
  await until(async () => (await countBlocked(sql)) === 1, 'the statement waits');
  expect([isAnswered, ...(await areStored([id]))]).toEqual([false, false]);
  await lock.release();
  await unit;
  expect(await areStored([id])).toEqual([true]);
});
