// An imported secret costs 25 ms of argon2 per check: how often that happens, and what happens when
// there are too many checks.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createSecretVerifier,
  generateSecret,
  hashGeneratedSecret,
  type StoredSecret,
} from '../../src/clients/secret.ts';
import { createPasswordHasher, type PasswordHasher } from '../../src/password-hash.ts';
import { requestToken } from '../support/admin.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const SECRET = 'chosen by a person';
const real = createPasswordHasher();
let stored: StoredSecret;

/** The real argon2id, and how often it ran. */
function counting(): PasswordHasher & { runs: number } {
  return {
    runs: 0,
    hash: (password) => real.hash(password),
    verify(hash, password) {
      this.runs++;
      return real.verify(hash, password);
    },
  };
}

beforeAll(async () => {
  stored = { id: 'one', hash: await real.hash(SECRET), expiresAt: undefined };
});

test('two hundred concurrent equal requests cost one argon2 run, and later ones none', async () => {
  const passwords = counting();
  const verifier = createSecretVerifier(passwords);
  const answers = await Promise.all(Array.from({ length: 200 }, () => verifier.match('app', [stored], SECRET)));
  expect(answers.every((secret) => secret?.id === 'one')).toBe(true);
  await verifier.match('app', [stored], SECRET);
  expect(passwords.runs).toBe(1);
});

test('a wrong secret is checked each time, and a success of another client or hash does not count', async () => {
  const passwords = counting();
  const verifier = createSecretVerifier(passwords);
  expect(await verifier.match('app', [stored], SECRET)).toBe(stored);
  for (let n = 0; n < 2; n++) expect(await verifier.match('app', [stored], 'wrong')).toBeUndefined();
  expect(passwords.runs).toBe(3);
  await verifier.match('other', [stored], SECRET);
  expect(passwords.runs).toBe(4);
  const rotated = { ...stored, hash: await real.hash('another one') };
  expect(await verifier.match('app', [rotated], SECRET)).toBeUndefined();
});

test('an expired secret is refused although its success is cached', async () => {
  const verifier = createSecretVerifier(counting());
  await verifier.match('app', [stored], SECRET);
  const expired = { ...stored, expiresAt: new Date(Date.now() - 1) };
  expect(await verifier.match('app', [expired], SECRET)).toBeUndefined();
});

test('generated secrets have 256 bits, differ, and need no argon2', async () => {
  const secrets = new Set(Array.from({ length: 100 }, generateSecret));
  expect(secrets.size).toBe(100);
  const [secret = ''] = secrets;
  expect(Buffer.from(secret.replace('lys_', ''), 'base64url')).toHaveLength(32);
  const passwords = counting();
  const generated = { id: 'g', hash: hashGeneratedSecret(secret), expiresAt: undefined };
  expect(await createSecretVerifier(passwords).match('app', [generated], secret)).toBe(generated);
  expect(await createSecretVerifier(passwords).match('app', [generated], `${secret}x`)).toBeUndefined();
  expect(passwords.runs).toBe(0);
});

test('the argon2 queue is limited: further callers get overloaded, and memory does not grow', async () => {
  const small = createPasswordHasher({ concurrency: 1, maxWaiting: 2 });
  const runs = await Promise.allSettled(Array.from({ length: 10 }, () => small.verify(stored.hash, SECRET)));
  const refused = runs.filter((run) => run.status === 'rejected');
  expect(refused.length).toBeGreaterThanOrEqual(7);
  for (const run of refused) expect(run.reason).toMatchObject({ code: 'overloaded', status: 503 });
});

describe('at the token endpoint', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(() => server.stop());

  test('a flood of wrong secrets gets 503 with Retry-After beyond the queue, never 500', async () => {
    const flood = Array.from({ length: 400 }, (_, n) =>
      requestToken(server.issuer, { clientId: 'lanyard-admin', clientSecret: `guess number ${n}` }),
    );
    const answers = await Promise.all(flood);
    const statuses = new Set(answers.map((answer) => answer.status));
    expect([...statuses].sort()).toEqual([401, 503]);
    const busy = answers.find((answer) => answer.status === 503);
    expect(busy?.body.error).toBe('temporarily_unavailable');
    expect(Number(busy?.headers.get('retry-after'))).toBeGreaterThan(0);
  });
});
