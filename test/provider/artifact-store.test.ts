// The statements of the hot path on two nodes: units are whole or nothing, and what may happen once happens once.

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
  test.each([1, 2, 3])(
    'one is stored, and a thief who lost the race gets no token out of it (round %d)',
    async (round) => {
      const spent = newId();
      await nodes[0].commit([upsert('RefreshToken', spent)]);
      const ids = Array.from({ length: 50 }, newId);
      const bystanders = Array.from({ length: 50 }, newId);
      const [results] = await Promise.all([
        Promise.allSettled(
          ids.map((id, number) => {
            const node = nodes[number % 2] as ArtifactStore;
            return node.commit([upsert('AccessToken', id), consume(spent), audit(`race ${round} ${number}`)]);
          }),
        ),
        Promise.all(bystanders.map((id, number) => nodes[number % 2]?.commit([upsert('AccessToken', id)]))),
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
      expect(await areStored(bystanders)).toEqual(bystanders.map(() => true));
      expect(await nodes[1].find('RefreshToken', spent)).toMatchObject({ consumedAt: expect.any(Number) });
    },
  );
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

test('an artifact that several units of one statement save is stored, and nobody fails', async () => {
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

test('a token that is consumed and saved at the same moment ends consumed, and nobody beside it fails', async () => {
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
