// What the engine expects of its adapter, checked on a real PostgreSQL; and that a copy of the
// database holds nothing that can be used.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Adapter, errors } from 'oidc-provider';
import { createDirectory } from '../../src/provider/policy/directory.ts';
import { AlreadyConsumedError, createArtifactStore } from '../../src/provider/storage/artifact-store.ts';
import { createUnitOfWork, type UnitOfWork } from '../../src/provider/storage/unit-of-work.ts';
import { createStorage } from '../../src/provider/tokens/model-adapter.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { until } from '../support/patience.ts';

let engine: TestEngine;
let unitOfWork: UnitOfWork;
let storage: (model: string) => Adapter;

beforeAll(async () => {
  engine = await startTestEngine();
  const { database } = engine;
  const artifactStore = createArtifactStore(database);
  unitOfWork = createUnitOfWork(artifactStore, database);
  const directory = createDirectory(database);
  storage = createStorage({
    ...database,
    artifactStore,
    directory,
    unitOfWork,
    writeBudget: { charge: () => {} },
    artifactKey: Buffer.alloc(32, 7),
  });
  for (const id of ['app', 'other', 'revoked']) await engine.insertClient(id);
  for (const id of ['alice', 'bob']) await engine.insertUser(id);
});
afterAll(() => engine.stop());

const MODELS = [
  'Session',
  'Interaction',
  'Grant',
  'AuthorizationCode',
  'AccessToken',
  'ClientCredentials',
  'RefreshToken',
  'DeviceCode',
  'ReplayDetection',
];
const now = () => Math.floor(Date.now() / 1000);
const newId = () => randomBytes(32).toString('base64url');

function payload(overrides: Record<string, unknown> = {}) {
  return { iat: now(), exp: now() + 60, clientId: 'app', accountId: 'alice', grantId: 'a grant', ...overrides };
}

describe.each(MODELS)('%s', (model) => {
  /** A new device code has no user yet; one that has was stored before. */
  const fresh = (overrides: Record<string, unknown> = {}) =>
    payload({ ...overrides, ...(model === 'DeviceCode' ? { accountId: undefined } : {}) });

  test('is found as it was stored, with its id', async () => {
    const id = newId();
    const stored = { ...fresh(), kind: model, jti: id, scope: 'a b', nested: { list: [1, null, 'ü'], flag: false } };
    await storage(model).upsert(id, stored, 60);
    expect(await storage(model).find(id)).toEqual(stored);
    const again = await storage(model).find(id);
    expect(again).not.toBe(await storage(model).find(id)); // the engine changes what it gets
  });

  test('stored again under the same id, the newer one counts', async () => {
    const id = newId();
    await storage(model).upsert(id, { ...fresh(), scope: 'old', only: 'in the old' }, 60);
    await storage(model).upsert(id, { ...fresh(), scope: 'new' }, 60);
    const found = await storage(model).find(id);
    expect(found).toMatchObject({ scope: 'new' });
    expect(found).not.toHaveProperty('only');
  });

  test('is not found by another id, by its hash or as another model', async () => {
    const id = newId();
    await storage(model).upsert(id, fresh(), 60);
    const { rows } = await engine.sql.query('SELECT id FROM oidc_artifacts WHERE model = $1', [model]);
    for (const other of [newId(), '', `${id} `, id.slice(1), ...rows.map((row) => row.id.toString('hex'))]) {
      expect(await storage(model).find(other)).toBeUndefined();
    }
    for (const otherModel of MODELS.filter((name) => name !== model)) {
      expect(await storage(otherModel).find(id)).toBeUndefined();
    }
  });

  test('expired, it is still found: the engine wants to say "expired", and notices a replay by it', async () => {
    const id = newId();
    await storage(model).upsert(id, fresh({ iat: now() - 120, exp: now() - 60 }), 1);
    expect(await storage(model).find(id)).toMatchObject({ exp: expect.any(Number) });
  });

  test('is gone after destroy', async () => {
    const id = newId();
    await storage(model).upsert(id, fresh(), 60);
    await storage(model).destroy(id);
    expect(await storage(model).find(id)).toBeUndefined();
    // Of two requests that go on from one login page, one does.
    const isUsedOnce = model === 'Interaction';
    for (const gone of [id, 'never was there']) {
      const again = storage(model).destroy(gone);
      await (isUsedOnce ? expect(again).rejects.toThrow(errors.SessionNotFound) : again);
    }
  });

  test('keeps NUL and other odd characters: they come in every parameter that an attacker likes', async () => {
    const id = newId();
    const odd = { scope: 'a\0b', nonce: '\u{1F600}\\u0000"\'', list: ['\0', '\uD800'], 'na\0me': 1 };
    await storage(model).upsert(id, { ...fresh(), ...odd }, 60);
    expect(await storage(model).find(id)).toMatchObject(odd);
  });

  test('its id is not in the database, neither in the row nor in the payload', async () => {
    const id = newId();
    await storage(model).upsert(id, { ...fresh(), jti: id }, 60);
    const { rows } = await engine.sql.query(
      'SELECT row_to_json(a)::text AS text FROM oidc_artifacts a WHERE model = $1',
      [model],
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const { text } of rows) expect(text).not.toContain(id);
  });
});

describe('consume', () => {
  test.each(['AuthorizationCode', 'RefreshToken', 'DeviceCode'])(
    'of twenty at once exactly one succeeds: %s',
    async (model) => {
      const id = newId();
      await storage(model).upsert(id, payload(model === 'DeviceCode' ? { accountId: undefined } : {}), 60);
      const results = await Promise.allSettled(Array.from({ length: 20 }, () => storage(model).consume(id)));
      const lost = results.filter((result) => result.status === 'rejected');
      expect(lost.length).toBe(19);
      for (const { reason } of lost) expect(reason).toBeInstanceOf(AlreadyConsumedError);
    },
  );

  test('a consumed row is still found, and says since when', async () => {
    const id = newId();
    await storage('RefreshToken').upsert(id, payload(), 60);
    expect(await storage('RefreshToken').find(id)).not.toHaveProperty('consumed');
    await storage('RefreshToken').consume(id);
    expect(await storage('RefreshToken').find(id)).toMatchObject({ consumed: expect.any(Number) });
  });

  test('storing it again does not bring it back to life', async () => {
    const id = newId();
    await storage('RefreshToken').upsert(id, payload(), 60);
    await storage('RefreshToken').consume(id);
    await storage('RefreshToken').upsert(id, payload(), 60);
    expect(await storage('RefreshToken').find(id)).toMatchObject({ consumed: expect.any(Number) });
    await expect(storage('RefreshToken').consume(id)).rejects.toThrow(AlreadyConsumedError);
  });

  test('what does not exist cannot be consumed', async () => {
    await expect(storage('AuthorizationCode').consume(newId())).rejects.toThrow(AlreadyConsumedError);
  });
});

describe('findByUid', () => {
  test('finds the session whose id changed while the old one was still there', async () => {
    const uid = newId();
    const [before, after] = [newId(), newId()];
    await storage('Session').upsert(before, payload({ uid, loginTs: now(), exp: now() + 50, name: 'before' }), 50);
    await storage('Session').upsert(after, payload({ uid, loginTs: now(), exp: now() + 60, name: 'after' }), 60);
    expect(await storage('Session').findByUid(uid)).toMatchObject({ name: 'after' });
    await storage('Session').destroy(before);
    expect(await storage('Session').findByUid(uid)).toMatchObject({ name: 'after' });
    await storage('Session').destroy(after);
    expect(await storage('Session').findByUid(uid)).toBeUndefined();
  });
});

describe('revokeByGrantId', () => {
  test('removes what was issued under that grant, and nothing else', async () => {
    const [grantId, otherGrant] = [newId(), newId()];
    const [first, second, foreign, code] = [newId(), newId(), newId(), newId()];
    await storage('AccessToken').upsert(first, payload({ grantId }), 60);
    await storage('AccessToken').upsert(second, payload({ grantId }), 60);
    await storage('AccessToken').upsert(foreign, payload({ grantId: otherGrant }), 60);
    await storage('AuthorizationCode').upsert(code, payload({ grantId }), 60);
    await storage('AccessToken').revokeByGrantId(grantId);
    expect(await storage('AccessToken').find(first)).toBeUndefined();
    expect(await storage('AccessToken').find(second)).toBeUndefined();
    expect(await storage('AccessToken').find(foreign)).toBeDefined();
    await storage('AuthorizationCode').revokeByGrantId(grantId);
    expect(await storage('AuthorizationCode').find(code)).toBeUndefined();
    await storage('AccessToken').revokeByGrantId('never was there');
  });
});

describe('a login in progress', () => {
  test('is sealed: the database tells neither the session nor the parameters', async () => {
    const id = newId();
    const secret = newId();
    const interaction = {
      returnTo: secret,
      session: { cookie: secret },
      params: { login_hint: secret },
      exp: now() + 60,
    };
    await storage('Interaction').upsert(id, interaction, 60);
    const { rows } = await engine.sql.query(
      `SELECT row_to_json(a)::text AS text FROM oidc_artifacts a WHERE model = 'Interaction'`,
    );
    for (const { text } of rows) expect(text).not.toContain(secret);
    expect(await storage('Interaction').find(id)).toEqual({ ...interaction, jti: id });
  });

  test('put under another id by an attacker who can write to the database, it cannot be opened', async () => {
    const [victim, attacker] = [newId(), newId()];
    await storage('Interaction').upsert(victim, { params: { who: 'victim' }, exp: now() + 60 }, 60);
    await storage('Interaction').upsert(attacker, { params: { who: 'attacker' }, exp: now() + 60 }, 60);
    await engine.sql.query(
      `UPDATE oidc_artifacts SET payload = (SELECT payload FROM oidc_artifacts WHERE model = 'Interaction'
         AND id = sha256(convert_to('Interaction', 'UTF8') || '\\x00'::bytea || convert_to($1, 'UTF8')))
       WHERE model = 'Interaction' AND id = sha256(convert_to('Interaction', 'UTF8') || '\\x00'::bytea || convert_to($2, 'UTF8'))`,
      [victim, attacker],
    );
    const found = storage('Interaction').find(attacker);
    await expect(found.then((value) => JSON.stringify(value) ?? '')).rejects.toThrow();
  });
});

// It would be remembered under a name that no change is announced for: a disabled client would go on.
test('a client id with a lone surrogate does not name the client that has U+FFFD in its place', async () => {
  await engine.insertClient('app \ufffd');
  const directory = createDirectory(engine.database);
  expect(await directory.findClient('app \ufffd')).toMatchObject({ clientId: 'app \ufffd' });
  expect(await directory.findClient('app \ud800')).toBeUndefined();
});

describe('"not before"', () => {
  test.each([
    ['clients', 'client_id', 'revoked', { clientId: 'revoked' }],
    ['users', 'id', 'bob', { accountId: 'bob' }],
  ])('of %s hides what was issued earlier and shows what comes later', async (table, key, id, owner) => {
    const earlier = newId();
    await storage('AccessToken').upsert(earlier, payload(owner), 60);
    expect(await storage('AccessToken').find(earlier)).toBeDefined();
    const notBefore = new Date((now() + 1) * 1000);
    await engine.sql.query(`UPDATE ${table} SET tokens_not_before = $2 WHERE ${key} = $1`, [id, notBefore]);
    await engine.database.changes.current();
    expect(await storage('AccessToken').find(earlier)).toBeUndefined();
    const later = newId();
    await until(() => engine.database.changes.now() >= notBefore.getTime() / 1000, 'the second');
    await storage('AccessToken').upsert(later, payload(owner), 60);
    expect(await storage('AccessToken').find(later)).toBeDefined();
  });

  test('what belongs to a client or user that is gone is not found', async () => {
    const [ofClient, ofUser] = [newId(), newId()];
    // An access token of such a client is not even saved (issuance-invariants).
    await storage('RefreshToken').upsert(ofClient, payload({ clientId: 'never was' }), 60);
    await storage('AccessToken').upsert(ofUser, payload({ accountId: 'never was' }), 60);
    expect(await storage('RefreshToken').find(ofClient)).toBeUndefined();
    expect(await storage('AccessToken').find(ofUser)).toBeUndefined();
  });
});

describe('a unit of work', () => {
  test('writes everything or nothing', async () => {
    const [code, token] = [newId(), newId()];
    await storage('AuthorizationCode').upsert(code, payload(), 60);
    await storage('AuthorizationCode').consume(code);
    const work = async () => {
      await storage('AccessToken').upsert(token, payload(), 60);
      await storage('AuthorizationCode').consume(code);
    };
    const collected = await unitOfWork.collect('a request', work);
    await expect(collected.commit()).rejects.toThrow(AlreadyConsumedError);
    expect(await storage('AccessToken').find(token)).toBeUndefined();
  });

  test('with statements is one transaction: if a row of it cannot be stored, they have not run', async () => {
    const [token, grant] = [newId(), newId()];
    await storage('Grant').upsert(grant, payload(), 60);
    const work = async () => {
      await storage('Grant').destroy(grant);
      await storage('AccessToken').upsert(token, payload(), 60);
      unitOfWork.record({ type: 'token.revoked', actor: 'system', accountId: 'with a \0 in it' });
    };
    const { commit } = await unitOfWork.collect('a request', work);
    await expect(commit()).rejects.toThrow();
    expect(await storage('Grant').find(grant)).toBeDefined();
    expect(await storage('AccessToken').find(token)).toBeUndefined();
  });

  test('removes sessions before everything else: the admin API takes the rows in the same order', async () => {
    const order: string[] = [];
    const { commit } = await unitOfWork.collect('a request', async () => {
      unitOfWork.join(async () => order.push('joined'));
      await unitOfWork.step(async () => order.push('run'));
      await unitOfWork.stepFirst(async () => order.push('first'));
    });
    expect(order).toEqual([]);
    await commit();
    expect(order).toEqual(['first', 'joined', 'run']);
  });

  test('is needed by listeners: their writes could be lost otherwise', () => {
    expect(() => unitOfWork.record({ type: 'token.issued', actor: 'system' })).toThrow('outside of a unit of work');
    expect(() => unitOfWork.join(async () => {})).toThrow('outside of a unit of work');
  });

  test('that is not committed writes nothing', async () => {
    const token = newId();
    await unitOfWork.collect('a request', async () => storage('AccessToken').upsert(token, payload(), 60));
    expect(await storage('AccessToken').find(token)).toBeUndefined();
  });

  test('of one request has nothing to do with another that runs at the same time', async () => {
    const [kept, dropped] = [newId(), newId()];
    const begun: string[] = [];
    const save = (id: string) => async () => {
      begun.push(id);
      await until(() => begun.length === 2, 'both at the same time');
      await storage('AccessToken').upsert(id, payload(), 60);
    };
    const [one] = await Promise.all([
      unitOfWork.collect('one', save(kept)),
      unitOfWork.collect('another', save(dropped)),
    ]);
    await one.commit();
    expect(await storage('AccessToken').find(kept)).toBeDefined();
    expect(await storage('AccessToken').find(dropped)).toBeUndefined();
  });
});
