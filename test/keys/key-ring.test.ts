// The signing keys: generated once, sealed at rest, published without their private parts.

import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { createLocalJWKSet, importJWK, jwtVerify, SignJWT } from 'jose';
import { createDatabase, type Database } from '../../src/database/database.ts';
import { loadSigningKeys, readSigningKeys } from '../../src/keys/key-ring.ts';
import { deriveKeys } from '../../src/keys/seal.ts';
import { createLog } from '../../src/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { startTestServer } from '../support/server.ts';

const { sealingKeys } = deriveKeys('a secret key that is long enough for one');
/** RFC 7518 §6.2.2, §6.3.2, §6.4.1 */
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

let testDatabase: TestDatabase;
let database: Database;
beforeEach(async () => {
  testDatabase = await createTestDatabase();
  const { connectionString } = testDatabase;
  database = createDatabase({ connectionString, poolSize: 5, queueSize: 5_000, log: createLog('silent') });
});
afterEach(async () => {
  await database.close();
  await testDatabase.drop();
});

async function change(text: string, values: unknown[] = []): Promise<void> {
  expect(
    (await database.query({ name: text.replace(/\s+/g, ' ').slice(0, 60), text }, values)).rowCount,
  ).toBeGreaterThan(0);
}

test('the first start generates one key for each algorithm, later ones read them', async () => {
  const first = await loadSigningKeys(database, sealingKeys);
  expect(first.map(({ alg, state }) => [alg, state]).sort()).toEqual([
    ['ES256', 'active'],
    ['RS256', 'active'],
  ]);
  expect(await loadSigningKeys(database, sealingKeys)).toEqual(first);
  for (const { alg, kid, privateJwk, publicJwk } of first) {
    const jwt = await new SignJWT({}).setProtectedHeader({ alg, kid }).sign(await importJWK(privateJwk, alg));
    await jwtVerify(jwt, createLocalJWKSet({ keys: [publicJwk] }));
  }
});

test('of five servers that start at once, one generates the keys: all of them sign with published keys', async () => {
  const rings = await Promise.all(Array.from({ length: 5 }, () => loadSigningKeys(database, sealingKeys)));
  for (const ring of rings) expect(ring).toEqual(rings[0]);
  const { rows } = await database.query<{ count: number }>(
    { name: 'count', text: "SELECT count(*)::int FROM audit_events WHERE type = 'signing_key.created'" },
    [],
  );
  expect(rows).toEqual([{ count: 2 }]);
});

describe('with another secret key', () => {
  test('the start fails with the reason; the keys do not change', async () => {
    const before = await loadSigningKeys(database, sealingKeys);
    const other = deriveKeys('another secret key, long enough as well').sealingKeys;
    await expect(loadSigningKeys(database, other)).rejects.toThrow(
      'LANYARD_SECRET_KEY does not decrypt the signing keys',
    );
    expect(await loadSigningKeys(database, sealingKeys)).toEqual(before);
  });

  test('a sealed key that was copied from another row is refused', async () => {
    await loadSigningKeys(database, sealingKeys);
    await change(
      `UPDATE signing_keys a SET sealed_private_jwk = b.sealed_private_jwk FROM signing_keys b WHERE a.kid <> b.kid`,
    );
    await expect(loadSigningKeys(database, sealingKeys)).rejects.toThrow('LANYARD_SECRET_KEY');
  });
});

test('the database contains public keys and sealed private keys', async () => {
  const keys = await loadSigningKeys(database, sealingKeys);
  const text = 'SELECT s::text AS line, public_jwk FROM signing_keys s';
  const { rows } = await database.query<{ line: string; public_jwk: object }>({ name: 'all', text }, []);
  expect(rows).toHaveLength(2);
  for (const { public_jwk } of rows) {
    for (const member of PRIVATE_MEMBERS) expect(public_jwk).not.toHaveProperty(member);
  }
  for (const { privateJwk } of keys) {
    expect(rows.map(({ line }) => line).join()).not.toContain(privateJwk.d);
  }
});

describe('the state of a key depends on its dates', () => {
  const copyKey = (kid: string, activateAt: string) =>
    change(
      `INSERT INTO signing_keys (kid, alg, public_jwk, sealed_private_jwk, activate_at)
       SELECT $1, alg, public_jwk, sealed_private_jwk, now() + $2::interval FROM signing_keys WHERE alg = 'ES256'`,
      [kid, activateAt],
    );

  test('the next key is decrypted at start too', async () => {
    await loadSigningKeys(database, sealingKeys);
    // It is sealed under the kid of the other key, so that it cannot be decrypted.
    await copyKey('copy', '1 hour');
    await expect(loadSigningKeys(database, sealingKeys)).rejects.toThrow('LANYARD_SECRET_KEY');
  });

  test('a key after its removal date is not published, and a new one is generated', async () => {
    const before = await loadSigningKeys(database, sealingKeys);
    await change(`UPDATE signing_keys SET remove_at = now() - interval '1 second' WHERE alg = 'ES256'`);
    const after = await loadSigningKeys(database, sealingKeys);
    const kidOf = (keys: typeof before, alg: string) => keys.find((key) => key.alg === alg)?.kid;
    expect(kidOf(after, 'RS256')).toBe(kidOf(before, 'RS256'));
    expect(kidOf(after, 'ES256')).not.toBe(kidOf(before, 'ES256'));
    expect(after).toHaveLength(2);
  });
});

test('the JWKS endpoint publishes no private member', async () => {
  const server = await startTestServer();
  try {
    const { keys } = (await (await fetch(`${server.issuer}/oauth2/jwks`)).json()) as {
      keys: Record<string, unknown>[];
    };
    expect(keys.map(({ alg, use }) => [alg, use]).sort()).toEqual([
      ['ES256', 'sig'],
      ['RS256', 'sig'],
    ]);
    const allowed = new Set(['kty', 'use', 'alg', 'kid', 'crv', 'x', 'y', 'n', 'e']);
    expect(keys.flatMap((key) => Object.keys(key)).filter((member) => !allowed.has(member))).toEqual([]);
  } finally {
    await server.stop();
  }
});

test('a key that cannot be read is left out, so that changes of the others take effect', async () => {
  await loadSigningKeys(database, sealingKeys);
  await change(`UPDATE signing_keys SET public_jwk = '{"kty":"AKP","alg":"unknown"}' WHERE alg = 'RS256'`);
  const { signingKeys, fault } = await readSigningKeys(database, sealingKeys, []);
  expect(signingKeys.map(({ alg }) => alg)).toEqual(['ES256']);
  expect(fault).toEqual(expect.objectContaining({ message: expect.stringMatching(/JWK|key/i) }));
});
