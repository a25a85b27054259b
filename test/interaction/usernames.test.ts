// User names and passwords in Unicode, with a database whose locale knows ASCII only: one person has one account and one
// budget of attempts, however the name is spelled, and nobody gets the account of another by spelling it.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createPasswordHasher } from '../../src/password-hash.ts';
import type { TestClient } from '../support/admin.ts';
import { authorizationUrl, CODE_FLOW } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction } from '../support/user-agent.ts';

const PASSWORD = 'a good long password';
const { hash } = createPasswordHasher();

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  const env = { LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '4', LANYARD_LOGIN_FAILURES_PER_ADDRESS: '1000' };
  server = await startTestServer(env, { locale: 'C' });
  app = await server.admin.createClient(CODE_FLOW);
});
afterAll(() => server.stop());

/** 403: wrong. 429: too many attempts. */
async function signIn(username: string, password = PASSWORD): Promise<'signed in' | number> {
  const agent = createUserAgent(server.issuer);
  const pkce = { code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' };
  const page = await agent.visit(authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce }));
  const next = await agent.submit(formAction(page.html, 'login'), { username, password });
  return next.leavesTo !== undefined || next.html.includes('id="consent-page"') ? 'signed in' : next.status;
}

const request: TestServer['admin']['request'] = (...args) => server.admin.request(...args);
const idsOf = async (query: string) =>
  ((await request('GET', `/users?${query}`)).body.items as { id: string }[]).map(({ id }) => id);

async function storedHash(id: string): Promise<string> {
  return (await server.sql.query('SELECT password_hash FROM users WHERE id = $1', [id])).rows[0].password_hash;
}

/** As a server of the version before stores it. @returns the id */
async function storeUser(username: string, password = PASSWORD): Promise<string> {
  const insert = 'INSERT INTO users (id, username, password_hash) VALUES (gen_random_uuid(), $1, $2) RETURNING id';
  return (await server.sql.query(insert, [username, await hash(password)])).rows[0].id;
}

/** A server that starts looks at all names. */
async function restart(): Promise<void> {
  await (await server.startTwin()).stop();
}

test('the database lower-cases ASCII only', async () => {
  expect((await server.sql.query("SELECT lower('JOS\u00c9') AS lower")).rows[0].lower).toBe('jos\u00c9');
});

describe('a name in other cases, widths and compositions', () => {
  const SPELLINGS = ['Jos\u00e9', 'JOS\u00c9', 'jose\u0301', '\uff2aOS\u00c9', ' jos\u00e9\u00a0'];
  let id: string;
  beforeAll(async () => {
    id = await server.admin.createUser('Jose\u0301', PASSWORD);
  });

  test('is shown in one form', async () => {
    expect((await request('GET', `/users/${id}`)).body).toMatchObject({
      username: 'Jos\u00e9',
      username_problem: null,
    });
  });

  test.each(SPELLINGS)('%j signs in, and is taken', async (name) => {
    expect(await signIn(name)).toBe('signed in');
    expect(await request('POST', '/users', { username: name.trim(), password: PASSWORD })).toMatchObject({
      status: 409,
      body: { code: 'already_exists' },
    });
  });

  test.each(['OSE\u0301', 'os\u00c9', 'jos'])('is found by %j', async (part) =>
    expect(await idsOf(`q=${encodeURIComponent(part)}`)).toContain(id),
  );

  test('shares one budget of attempts: a spelling for each guess would give as many guesses as there are spellings', async () => {
    for (const name of SPELLINGS.slice(0, 4)) expect(await signIn(name, 'a wrong guess')).toBe(403);
    for (const name of SPELLINGS) expect(await signIn(name)).toBe(429);
  });

  test('a name that nobody has shares one too: an attacker would learn which names exist', async () => {
    for (const name of ['Ren\u00e9', 'REN\u00c9', 'rene\u0301', '\uff32en\u00e9']) {
      expect(await signIn(name, 'a wrong guess')).toBe(403);
    }
    expect(await signIn('ren\u00c9', 'a wrong guess')).toBe(429);
  });
});

test.each([
  ['invisible', 'ali\u200bce'],
  ['from right to left', 'alice\u202e'],
  ['of both directions', 'alice\u05d0'],
  ['like another letter', 'alice\u00b2'],
  ['spaces', 'alice  b'],
])('a new name with something %s is refused', async (_what, username) => {
  const id = await server.admin.createUser(crypto.randomUUID(), PASSWORD);
  for (const answer of [
    await request('POST', '/users', { username, password: PASSWORD }),
    await request('PATCH', `/users/${id}`, { username }),
  ]) {
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
    expect(answer.body.errors).toEqual([{ pointer: '/username', detail: expect.stringMatching(/^must not/) }]);
  }
});

describe('a password', () => {
  test.each([
    ['composed', 'cr\u00e8me br\u00fbl\u00e9e', 'cre\u0300me bru\u0302le\u0301e'],
    ['with other spaces', 'a long pass phrase', 'a\u00a0long\u3000pass phrase'],
  ])('is the same %s', async (what, one, other) => {
    for (const [index, set] of [one, other].entries()) {
      const id = await server.admin.createUser(`${what} ${index}`, set);
      expect([await signIn(`${what} ${index}`, one), await signIn(`${what} ${index}`, other)]).toEqual([
        'signed in',
        'signed in',
      ]);
      const before = await storedHash(id);
      await signIn(`${what} ${index}`, other);
      expect(await storedHash(id)).toBe(before);
    }
  });

  test('its case counts', async () => {
    await server.admin.createUser('case', PASSWORD);
    expect(await signIn('case', PASSWORD.toUpperCase())).toBe(403);
  });

  test('that was stored as it was typed is right once more, and is stored normalised then', async () => {
    const typed = 'cre\u0300me bru\u0302le\u0301e';
    const id = await storeUser('before', typed);
    const before = await storedHash(id);
    expect(await signIn('before', 'cr\u00e8me br\u00fbl\u00e9e')).toBe(403);
    expect(await signIn('before', typed)).toBe('signed in');
    expect(await storedHash(id)).not.toBe(before);
    expect(await signIn('before', 'cr\u00e8me br\u00fbl\u00e9e')).toBe('signed in');
    expect(await signIn('before', typed)).toBe('signed in');
  });

  test('with characters that a new one must not have goes on as it was stored', async () => {
    const typed = '\u{1f469}\u200d\u{1f469} family';
    const id = await storeUser('family', typed);
    const before = await storedHash(id);
    expect(await signIn('family', typed)).toBe('signed in');
    expect(await storedHash(id)).toBe(before);
    for (const answer of [
      await request('POST', '/users', { username: 'another', password: typed }),
      await request('PATCH', `/users/${id}`, { password: typed }),
    ]) {
      expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/password' }] } });
      expect(JSON.stringify(answer.body)).not.toContain('family');
    }
  });

  test('must have its least length when it is normalised: marks alone would count', async () => {
    const answer = await request('POST', '/users', { username: 'short', password: 'e\u0301e\u0301e\u0301e\u0301' });
    expect(answer).toMatchObject({ status: 400, body: { errors: [{ pointer: '/password' }] } });
  });
});

describe('names from before they were compared like that', () => {
  test('get their keys at the next start: other spellings sign in', async () => {
    await storeUser('\u00dcnal');
    expect(await signIn('\u00dcNAL')).toBe('signed in');
    await restart();
    expect(await signIn('u\u0308NAL')).toBe('signed in');
  });

  test('get them however many there are, and though two servers start at once', async () => {
    await server.sql.query(`INSERT INTO users (id, username, password_hash)
      SELECT gen_random_uuid(), 'Many ' || n, 'none' FROM generate_series(1, 2500) n`);
    await Promise.all([restart(), restart()]);
    const { rows } = await server.sql.query(`SELECT count(*)::int AS count, count(DISTINCT username_key)::int AS keys,
      count(username_problem)::int AS problems FROM users WHERE username LIKE 'Many %'`);
    expect(rows).toEqual([{ count: 2500, keys: 2500, problems: 0 }]);
  });

  test('get theirs before a new user does: it would get the account of another by its spelling', async () => {
    await storeUser('Chlo\u00eb');
    expect((await request('POST', '/users', { username: 'CHLO\u00cb', password: PASSWORD })).status).toBe(409);
  });

  test('that PRECIS refuses go on, and are reported', async () => {
    const id = await storeUser('a\u202eb');
    const from = server.logLines.length;
    await restart();
    expect(await signIn('a\u202eb')).toBe('signed in');
    expect([await signIn('A\u202eB'), await signIn('ab')]).toEqual([403, 403]);
    expect(await idsOf('username_problem=refused')).toEqual([id]);
    const warnings = server.logLines.slice(from).filter((line) => line.includes('"refused":1'));
    expect(warnings).toEqual([expect.stringContaining(id)]);
    expect((await request('PATCH', `/users/${id}`, { username: 'a\u202eb' })).status).toBe(400);
    expect((await request('PATCH', `/users/${id}`, { username: 'Ab' })).body).toMatchObject({ username_problem: null });
    expect(await signIn('aB')).toBe('signed in');
    expect(await idsOf('username_problem=refused')).toEqual([]);
  });

  test('that become equal stay two accounts: one would take over the other', async () => {
    const [first, second] = ['Zo\u00eb', 'Zoe\u0308'] as const;
    const ids = [await storeUser(first, 'the first password'), await storeUser(second, 'another password')];
    await restart();
    expect((await idsOf('username_problem=collision')).sort()).toEqual([...ids].sort());
    expect(await signIn(first, 'the first password')).toBe('signed in');
    expect(await signIn(second, 'another password')).toBe('signed in');
    expect([await signIn(first, 'another password'), await signIn(second, 'the first password')]).toEqual([403, 403]);
    for (const password of ['the first password', 'another password'])
      expect(await signIn('zo\u00eb', password)).toBe(403);
    expect((await request('POST', '/users', { username: 'zo\u00eb', password: PASSWORD })).status).toBe(409);

    const renamed = await request('PATCH', `/users/${ids[1]}`, { username: 'Zo\u00eb B' }, { 'if-match': '"1"' });
    expect(renamed.body).toMatchObject({ username: 'Zo\u00eb B', username_problem: null });
    expect(await idsOf('username_problem=collision')).toEqual([]);
    expect(await signIn('ZO\u00cb', 'the first password')).toBe('signed in');
    expect((await request('PATCH', `/users/${ids[1]}`, { username: 'ZOE\u0308' })).status).toBe(409);
  });

  test('that become equal do not share attempts: the owner of one would give them back to guess at the other', async () => {
    const [own, victim] = ['Ma\u00ebl', 'Mae\u0308l'] as const;
    await storeUser(own);
    await storeUser(victim, 'the password of the victim');
    await restart();
    for (let guess = 0; guess < 4; guess++) {
      expect(await signIn(victim, `guess ${guess}`)).toBe(403);
      expect(await signIn(own)).toBe('signed in');
    }
    expect(await signIn(victim, 'the password of the victim')).toBe(429);
  });

  test('a name that SQL changes loses its key', async () => {
    const id = await server.admin.createUser('Anna', PASSWORD);
    await server.sql.query("UPDATE users SET username = 'Berta' WHERE id = $1", [id]);
    expect(await signIn('anna')).toBe(403);
    await restart();
    expect(await signIn('BERTA')).toBe('signed in');
  });
});

test('a name that was refused by an older Unicode is taken when it is set again', async () => {
  const id = await server.admin.createUser('Newer', PASSWORD);
  await server.sql.query("UPDATE users SET username_key = NULL, username_problem = 'refused' WHERE id = $1", [id]);
  expect(await signIn('newer')).toBe(403);
  expect((await request('PATCH', `/users/${id}`, { username: 'Newer' })).body.username_problem).toBeNull();
  expect(await signIn('newer')).toBe('signed in');
});

test('a user who gets another name keeps the account', async () => {
  const id = await server.admin.createUser('Eva Black', PASSWORD);
  expect((await request('PATCH', `/users/${id}`, { username: 'EVA BLACK' })).body).toMatchObject({
    id,
    username: 'EVA BLACK',
  });
  expect((await request('PATCH', `/users/${id}`, { username: 'Eva Green' })).body).toMatchObject({ id });
  expect([await signIn('eva green'), await signIn('eva black')]).toEqual(['signed in', 403]);
  const { rows } = await server.sql.query(
    "SELECT detail FROM audit_events WHERE type = 'user.changed' AND account_id = $1",
    [id],
  );
  expect(rows).toContainEqual({ detail: { members: ['username'] } });
});
