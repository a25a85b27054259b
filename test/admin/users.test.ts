// Users through the admin API, and the audit log of everything.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { startTestServer, type TestServer } from '../support/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.stop());

const request: TestServer['admin']['request'] = (...args) => server.admin.request(...args);
const PASSWORD = 'a good long password';

test('usernames that differ in case only are the same username', async () => {
  await server.admin.createUser('Alice', PASSWORD);
  expect(await request('POST', '/users', { username: 'aLICE', password: PASSWORD })).toMatchObject({ status: 409 });
});

test.each([
  ['a short password', { password: '1234567' }],
  ['a password without end', { password: 'x'.repeat(257) }],
  ['a claim that would name another client', { claims: { azp: 'evil' } }],
  ['a claim that would widen its scope', { claims: { scope: 'admin:write' } }],
  ['a subject of its own', { claims: { sub: 'another-user' } }],
  ['a profile that runs a script', { claims: { profile: 'javascript:alert(1)' } }],
  ['an email address without @', { email: 'alice' }],
  ['an unknown member', { role: 'admin' }],
  ['a user name of white space', { username: ' ' }],
])('refuses %s', async (_what, members) => {
  const answer = await request('POST', '/users', { username: 'bob', password: PASSWORD, ...members });
  expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
});

test('no answer contains a password or its hash', async () => {
  const id = await server.admin.createUser('carol', PASSWORD);
  for (const answer of [await request('GET', `/users/${id}`), await request('GET', '/users?q=carol')]) {
    expect(JSON.stringify(answer.body)).not.toMatch(/password|argon2/);
  }
});

test('a change respects If-Match; null removes the email address', async () => {
  const id = await server.admin.createUser('dave', PASSWORD, { email: 'dave@example.com' });
  const change = { email: null, claims: { name: 'Dave' } };
  expect((await request('PATCH', `/users/${id}`, change, { 'if-match': '"7"' })).status).toBe(412);
  const changed = await request('PATCH', `/users/${id}`, change, { 'if-match': '"1"' });
  expect(changed.body).toMatchObject({ email: null, claims: { name: 'Dave' } });
  expect(changed.headers.get('etag')).toBe('"2"');
  expect((await request('GET', '/users/unknown')).status).toBe(404);
});

test('every change adds one audit event with the actor and the request id', async () => {
  const created = await request('POST', '/users', { username: 'erin', password: PASSWORD });
  const id = created.body.id as string;
  const disabled = await request('POST', `/users/${id}/disable`);
  const enabled = await request('POST', `/users/${id}/enable`);
  const changed = await request('PATCH', `/users/${id}`, { claims: { name: 'Erin' } });
  const { body } = await request('GET', `/audit-events?user_id=${id}`);
  const events = body.items as { type: string; actor: string; request_id: string; detail: object }[];
  expect(events.map((event) => [event.type, event.actor, event.request_id])).toEqual(
    (
      [
        ['user.changed', changed],
        ['user.enabled', enabled],
        ['user.disabled', disabled],
        ['user.created', created],
      ] as const
    ).map(([type, answer]) => [type, 'client:lanyard-admin', answer.headers.get('x-request-id')]),
  );
  expect(JSON.stringify(events)).not.toContain(PASSWORD);
});

test('audit events are filtered, newest first, in pages', async () => {
  const since = new Date().toISOString();
  for (const name of ['f1', 'f2', 'f3']) await server.admin.createUser(name, PASSWORD);
  const first = (await request('GET', `/audit-events?type=user.created&since=${since}&limit=2`)).body;
  const names = (page: Record<string, unknown>) =>
    (page.items as { detail: { username: string } }[]).map((event) => event.detail.username);
  expect(names(first)).toEqual(['f3', 'f2']);
  const rest = await request('GET', `/audit-events?type=user.created&since=${since}&cursor=${first.next_cursor}`);
  expect([names(rest.body), rest.body.next_cursor]).toEqual([['f1'], null]);
  expect((await request('GET', `/audit-events?until=${since}&type=user.created`)).body.items).not.toEqual([]);
  for (const query of ['type=nothing', 'since=yesterday', 'cursor=YQ', 'limit=-1']) {
    expect((await request('GET', `/audit-events?${query}`)).status).toBe(400);
  }
});

test('audit events cannot be changed, not even with the database role of the server', async () => {
  for (const statement of [
    'DELETE FROM audit_events',
    "UPDATE audit_events SET actor = 'unknown'",
    'TRUNCATE audit_events',
  ]) {
    await expect(server.sql.query(statement)).rejects.toThrow('audit events are insert only');
  }
  // Who has found out how the sweep does it still cannot wipe out what they have just done.
  await expect(
    server.sql.query(`DELETE FROM audit_events WHERE set_config('lanyard.sweeps_audit_events', 'on', true) = 'on'`),
  ).rejects.toThrow('audit events are kept for seven days at least');
});
