// The rotation schedule, and a new LANYARD_SECRET_KEY.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { cookieKeysAt } from '../../src/keys/follow-keys.ts';
import { loadInstallationSecret } from '../../src/keys/installation-secret.ts';
import { loadSigningKeys, type SigningKey } from '../../src/keys/key-ring.ts';
import { resealStoredKeys } from '../../src/keys/reseal.ts';
import { createKeyRotation, type KeyRotation } from '../../src/keys/rotation.ts';
import { deriveKeys } from '../../src/keys/seal.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

const OLD = 'a secret key that is long enough for one';
const NEW = 'another secret key, long enough as well';
const { sealingKeys } = deriveKeys(OLD);
const DAY_MS = 86_400_000;
const log = createLog('silent');
const schedule = { rotationDays: 90, publishAheadSeconds: 86_400, keptSeconds: 14 * 86_400 };

let testDatabase: TestDatabase;
let database: Database;
let rotation: KeyRotation;
beforeEach(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 8, queueSize: 5_000, log });
  rotation = createKeyRotation({ database, sealingKeys, schedule });
  await loadSigningKeys(database, sealingKeys);
});
afterEach(async () => {
  await database.close();
  await testDatabase.drop();
});

async function sql(text: string, values: unknown[] = []) {
  return (await database.query<Record<string, unknown>>({ name: text.slice(0, 60), text }, values)).rows;
}

async function keysOf(alg: string): Promise<SigningKey[]> {
  return (await loadSigningKeys(database, sealingKeys)).filter((key) => key.alg === alg);
}

const age = (alg: string, days: number) =>
  sql('UPDATE signing_keys SET activate_at = now() - make_interval(mins => $2) WHERE alg = $1', [
    alg,
    Math.round(days * 1440),
  ]);

describe('by the schedule', () => {
  test('a key is replaced after 90 days by one that was published a day before', async () => {
    await age('ES256', 88.9);
    await rotation.keepSchedule();
    expect(await keysOf('ES256')).toHaveLength(1);
    await age('ES256', 89.1);
    await rotation.keepSchedule();
    const [active, next] = (await keysOf('ES256')) as [SigningKey, SigningKey];
    expect([active.state, next.state]).toEqual(['active', 'next']);
    // The rotation ran 0.1 days late, and the new key is still published for a whole day.
    const ageInDays = (next.activateAt.getTime() - active.activateAt.getTime()) / DAY_MS;
    expect(ageInDays).toBeCloseTo(90.1, 2);
    expect(active.removeAt?.getTime()).toBe(next.activateAt.getTime() + 14 * DAY_MS);
    await rotation.keepSchedule();
    expect(await keysOf('ES256')).toHaveLength(2);
    expect(await keysOf('RS256')).toHaveLength(1);
  });

  test('after a long time without a server, the next key is still published a day ahead', async () => {
    await age('ES256', 400);
    await rotation.keepSchedule();
    const next = (await keysOf('ES256')).find(({ state }) => state === 'next') as SigningKey;
    expect(Math.abs(next.activateAt.getTime() - Date.now() - DAY_MS)).toBeLessThan(60_000);
  });

  test('of many servers that run it at once, one generates the key', async () => {
    await age('ES256', 89.5);
    await Promise.all(Array.from({ length: 8 }, () => rotation.keepSchedule()));
    expect(await keysOf('ES256')).toHaveLength(2);
  });

  test('an expired key is deleted with its private part, and the audit log records it', async () => {
    await rotation.rotate('ES256', 0, { actor: 'system' });
    const retired = (await keysOf('ES256')).find(({ state }) => state === 'retired') as SigningKey;
    await sql("UPDATE signing_keys SET remove_at = now() - interval '1 second' WHERE kid = $1", [retired.kid]);
    expect(await keysOf('ES256')).toHaveLength(1);
    await rotation.keepSchedule();
    expect(await sql('SELECT kid FROM signing_keys WHERE kid = $1', [retired.kid])).toEqual([]);
    const events = await sql("SELECT actor, detail FROM audit_events WHERE type = 'signing_key.removed'");
    expect(events).toEqual([{ actor: 'system', detail: { kid: retired.kid, alg: 'ES256', state: 'retired' } }]);
  });

  test('without a rotation period, no key is rotated', async () => {
    await age('ES256', 4000);
    const byHand = createKeyRotation({ database, sealingKeys, schedule: { ...schedule, rotationDays: undefined } });
    await byHand.keepSchedule();
    expect(await keysOf('ES256')).toHaveLength(1);
  });
});

describe('a new LANYARD_SECRET_KEY', () => {
  const both = deriveKeys(NEW, OLD).sealingKeys;
  const onlyNew = deriveKeys(NEW).sealingKeys;

  test('decrypts what the previous one sealed; after resealing, the previous one decrypts nothing', async () => {
    const before = await loadSigningKeys(database, sealingKeys);
    const salt = await loadInstallationSecret(database.query, sealingKeys, 'pairwise');
    expect(await loadSigningKeys(database, both)).toEqual(before);
    expect(await resealStoredKeys(database, both)).toBe(before.length + 1);
    expect(await resealStoredKeys(database, both)).toBe(0);
    expect(await loadSigningKeys(database, onlyNew)).toEqual(before);
    expect(await loadInstallationSecret(database.query, onlyNew, 'pairwise')).toBe(salt);
    await expect(loadSigningKeys(database, sealingKeys)).rejects.toThrow('LANYARD_SECRET_KEY');
    const [event] = await sql("SELECT detail FROM audit_events WHERE type = 'secret_key.changed'");
    expect(event).toEqual({ detail: { resealed: before.length + 1 } });
  });

  test('several servers can start with it at once', async () => {
    const before = await loadSigningKeys(database, sealingKeys);
    const counts = await Promise.all(Array.from({ length: 5 }, () => resealStoredKeys(database, both)));
    expect(counts.reduce((sum, count) => sum + count)).toBe(before.length);
    expect(await loadSigningKeys(database, onlyNew)).toEqual(before);
  });

  test('with a wrong previous key, nothing is changed', async () => {
    await expect(resealStoredKeys(database, deriveKeys(NEW, `${OLD}!`).sealingKeys)).rejects.toThrow();
    expect(await loadSigningKeys(database, sealingKeys)).toHaveLength(2);
  });

  test('one row that cannot be decrypted leaves all rows unchanged', async () => {
    await sql("UPDATE signing_keys SET sealed_private_jwk = 'v1.a.b.c' WHERE alg = 'RS256'");
    const before = await sql('SELECT kid, sealed_private_jwk FROM signing_keys ORDER BY kid');
    await expect(resealStoredKeys(database, both)).rejects.toThrow();
    expect(await sql('SELECT kid, sealed_private_jwk FROM signing_keys ORDER BY kid')).toEqual(before);
  });
});

describe('the cookie keys', () => {
  const cookies = { rotationDays: 10, sessionSeconds: 14 * 86_400 };
  const keysAt = (days: number, secret = deriveKeys(NEW)) => cookieKeysAt(secret, cookies, days * 86_400);

  test('change by the clock, and verify a cookie until it expires', () => {
    const signedWith = keysAt(100)[0] as string;
    expect(keysAt(109.9)[0]).toBe(signedWith);
    expect(keysAt(110)[0]).not.toBe(signedWith);
    for (const later of [0, 9.9, 10, 13.9, 23.9]) expect(keysAt(100 + later)).toContain(signedWith);
    expect(keysAt(100 + 40)).not.toContain(signedWith);
  });

  test('verify a cookie of a node with a clock that is ahead', () => {
    expect(keysAt(109.9999)).toContain(keysAt(110)[0]);
  });

  test('verify what the previous secret key signed, but do not sign with it', () => {
    const old = keysAt(100, deriveKeys(OLD))[0] as string;
    const after = keysAt(101, deriveKeys(NEW, OLD));
    expect(after).toContain(old);
    expect(after[0]).toBe(keysAt(101)[0]);
  });

  test('never change without a schedule', () => {
    const never = { ...cookies, rotationDays: undefined };
    expect(cookieKeysAt(deriveKeys(NEW), never, 0)).toEqual(cookieKeysAt(deriveKeys(NEW), never, 1e9));
  });
});
