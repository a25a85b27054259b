// An imported secret costs 25 ms of argon2 per check: how often that happens, and what a stranger
// gains who presents wrong ones without end.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createSecretVerifier,
  generateSecret,
  hashGeneratedSecret,
  type SecretVerifier,
  type StoredSecret,
} from '../../src/clients/secret.ts';
import type { Query } from '../../src/database/database.ts';
import { type BoundedPasswordHasher, createPasswordHasher } from '../../src/password-hash.ts';
import { createGuessThrottle } from '../../src/users/throttle.ts';
import { requestToken } from '../support/admin.ts';
import { ALICE, obtainCode } from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const SECRET = 'chosen by a person';
const real = createPasswordHasher();
let stored: StoredSecret;

const APP = { clientId: 'app', address: '192.0.2.1' };

/** Without a limit. */
function verifierWith(passwords: BoundedPasswordHasher): SecretVerifier {
  const throttle = { attempt: async () => undefined, giveBack: async () => {} };
  return createSecretVerifier({ passwords, throttle, onFailure: () => {} });
}

/** The real argon2id, and how often it ran. */
function counting(): BoundedPasswordHasher & { runs: number } {
  return {
    runs: 0,
    hash: (password) => real.hash(password),
    assertRoom: () => {},
    load: real.load,
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
  const verifier = verifierWith(passwords);
  const answers = await Promise.all(Array.from({ length: 200 }, () => verifier.match(APP, [stored], SECRET)));
  expect(answers.every((secret) => secret?.id === 'one')).toBe(true);
  await verifier.match(APP, [stored], SECRET);
  expect(passwords.runs).toBe(1);
});

test('a wrong secret is checked each time, and a success of another client or hash does not count', async () => {
  const passwords = counting();
  const verifier = verifierWith(passwords);
  expect(await verifier.match(APP, [stored], SECRET)).toBe(stored);
  for (let n = 0; n < 2; n++) expect(await verifier.match(APP, [stored], 'wrong')).toBeUndefined();
  expect(passwords.runs).toBe(3);
  await verifier.match({ ...APP, clientId: 'other' }, [stored], SECRET);
  expect(passwords.runs).toBe(4);
  const rotated = { ...stored, hash: await real.hash('another one') };
  expect(await verifier.match(APP, [rotated], SECRET)).toBeUndefined();
});

test('an expired secret is refused although its success is cached', async () => {
  const verifier = verifierWith(counting());
  await verifier.match(APP, [stored], SECRET);
  const expired = { ...stored, expiresAt: new Date(Date.now() - 1) };
  expect(await verifier.match(APP, [expired], SECRET)).toBeUndefined();
});

test('generated secrets have 256 bits, differ, and need no argon2', async () => {
  const secrets = new Set(Array.from({ length: 100 }, generateSecret));
  expect(secrets.size).toBe(100);
  const [secret = ''] = secrets;
  expect(Buffer.from(secret.replace('lys_', ''), 'base64url')).toHaveLength(32);
  const passwords = counting();
  const generated = { id: 'g', hash: hashGeneratedSecret(secret), expiresAt: undefined };
  expect(await verifierWith(passwords).match(APP, [generated], secret)).toBe(generated);
  expect(await verifierWith(passwords).match(APP, [generated], `${secret}x`)).toBeUndefined();
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
  const WORKERS = 4;
  const LIMIT = 20 + WORKERS - 1;
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ LANYARD_TRUST_PROXY: '127.0.0.1', LANYARD_WORKERS: String(WORKERS) });
  });
  afterAll(() => server.stop());

  function guessFrom(address: string, secret: string, more: Record<string, string> = {}) {
    const client = { clientId: 'lanyard-admin', clientSecret: secret };
    return requestToken(server.issuer, client, {}, { 'x-forwarded-for': address, ...more });
  }

  async function countedGuesses(address: string) {
    const { rows } = await server.sql.query(
      `SELECT detail FROM audit_events WHERE type = 'client.authentication_failed' AND client_id = 'lanyard-admin'
         AND detail->>'address' = $1`,
      [address],
    );
    return rows.map(({ detail }) => detail as { count: number; first_at: string; last_at: string });
  }

  test('of 300 guesses at once some twenty are checked: more would be more chances, and the CPU of everybody else', async () => {
    const address = '203.0.113.7';
    const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => guessFrom(address, `guess number ${n}`)));
    const statuses = answers.map((answer) => answer.status);
    expect([statuses.filter((each) => each === 401).length, statuses.filter((each) => each === 429).length]).toEqual([
      LIMIT,
      300 - LIMIT,
    ]);
    const refused = answers.find((answer) => answer.status === 429);
    expect(refused?.body.error).toBe('temporarily_unavailable');
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0);
    // On the engine's own pipeline too, which takes what is not plain.
    const unusual = await guessFrom(address, 'one more', { 'x-unusual': 'yes' });
    expect([unusual.status, unusual.body.error]).toEqual([429, 'temporarily_unavailable']);

    const sum = async () => (await countedGuesses(address)).reduce((total, { count }) => total + count, 0);
    await until(async () => (await sum()) === 301, 'an audit event that counts all of them');
    const rows = await countedGuesses(address);
    expect(rows.length).toBeLessThanOrEqual(2);
    for (const { first_at: first, last_at: last } of rows)
      expect(Date.parse(first)).toBeLessThanOrEqual(Date.parse(last));
  });

  test('the client itself is not kept out: from another address its secret is accepted, and where it is known already', async () => {
    const [client, secret] = await importedSecret();
    const from = (address: string, presented: string) =>
      requestToken(server.issuer, { clientId: client, clientSecret: presented }, {}, { 'x-forwarded-for': address });
    const attacker = '203.0.113.8';
    const exhaust = () => Promise.all(Array.from({ length: 40 }, (_, n) => from(attacker, `wrong ${n}`)));
    await exhaust();
    // Not even the right one, or the attacker would learn which it is.
    expect((await from(attacker, secret)).status).toBe(429);
    expect((await from('198.51.100.1', secret)).body.error).toBe('invalid_target');
    await exhaust();
    expect((await from(attacker, secret)).body.error).toBe('invalid_target');
  });

  test('right secrets use up no attempts, and a whole /64 of IPv6 counts as one address', async () => {
    const [client, secret] = await importedSecret();
    const from = (address: string, presented: string) =>
      requestToken(server.issuer, { clientId: client, clientSecret: presented }, {}, { 'x-forwarded-for': address });
    const { rows: before } = await server.sql.query('SELECT sum(points) AS points FROM login_throttle');
    for (let n = 0; n < 3; n++) expect((await from('198.51.100.9', secret)).body.error).toBe('invalid_target');
    const { rows: after } = await server.sql.query('SELECT sum(points) AS points FROM login_throttle');
    expect(after).toEqual(before);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) => from(`2001:db8:0:1::${n + 1}`, `wrong ${n}`)),
    );
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(LIMIT);
  });

  test('more processes than the limit that check the right secret at once do not refuse it for the rest of the window', async () => {
    const query = ((statement, values) => server.sql.query({ ...statement, values: [...values] })) as Query;
    const limits = { attempts: 10, windowSeconds: 900 };
    const processes = Array.from({ length: 15 }, () => {
      const throttle = createGuessThrottle(query, 'client-secret', limits, { remembersRefusals: true });
      return createSecretVerifier({ passwords: real, throttle, onFailure: () => {} });
    });
    const presenter = { clientId: 'app', address: '198.51.100.77' };
    const present = () =>
      Promise.allSettled(processes.map(async (verifier) => verifier.match(presenter, [stored], SECRET)));
    await present();
    expect(await present()).toEqual(processes.map(() => ({ status: 'fulfilled', value: stored })));
  });

  test('users sign in while strangers from everywhere present wrong secrets: they have a queue of their own', async () => {
    await server.admin.createUser(ALICE.username, ALICE.password);
    const app = await server.admin.createClient({ redirect_uris: ['https://app.example/callback'] });
    let isOver = false;
    let sent = 0;
    const statuses = new Set<number>();
    const flood = Array.from({ length: 106 }, async () => {
      while (!isOver) {
        const n = sent++;
        statuses.add((await guessFrom(`198.18.${n >> 8}.${n & 255}`, `guess ${n}`)).status);
      }
    });
    try {
      await until(async () => statuses.has(503), 'a full queue of clients');
      for (let n = 0; n < 3; n++) {
        const { back } = await obtainCode(server, app, { state: `login ${n}` });
        expect(back.searchParams.get('code')).toBeTruthy();
      }
    } finally {
      isOver = true;
      await Promise.all(flood);
    }
    expect([...statuses].sort()).toEqual([401, 503]);
  });

  async function importedSecret(): Promise<[clientId: string, secret: string]> {
    const { clientId } = await server.admin.createClient();
    const secret = 'chosen by a person, long enough';
    const { status } = await server.admin.request('POST', `/clients/${clientId}/secrets`, {
      secret,
      overlap_seconds: 0,
    });
    expect(status).toBe(201);
    return [clientId, secret];
  }
});
