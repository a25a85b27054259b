// Users through the admin API, and the audit log of everything.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
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

describe('times in the filter of audit events (RFC 3339 §5.6)', () => {
  test('may have any offset, and are exact to the microsecond', async () => {
    const id = await server.admin.createUser('clockmaker', PASSWORD);
    const { rows } = await server.sql.query(
      `SELECT floor(extract(epoch FROM at))::int AS seconds, to_char(at, 'US') AS micros FROM audit_events
       WHERE type = 'user.created' AND account_id = $1`,
      [id],
    );
    const micros = Number(rows[0].micros);
    const spell = (more: number, offset: string) => {
      const total = micros + more;
      const [, sign = '+', hours = '0', minutes = '0'] = /^([+-])(\d\d):(\d\d)$/.exec(offset) ?? [];
      const shift = (sign === '-' ? -60 : 60) * (Number(hours) * 60 + Number(minutes));
      const second = rows[0].seconds + Math.floor(total / 1_000_000) + shift;
      const fraction = String(((total % 1_000_000) + 1_000_000) % 1_000_000).padStart(6, '0');
      return `${new Date(second * 1000).toISOString().slice(0, 19)}.${fraction}${offset}`;
    };
    const found = async (query: string) => {
      const { status, body } = await request('GET', `/audit-events?type=user.created&user_id=${id}&${query}`);
      return [status, (body.items as unknown[] | undefined)?.length];
    };
    for (const offset of ['Z', 'z', '+00:00', '-00:00', '+02:00', '-07:30', '+05:45', '+18:00', '-23:59']) {
      for (const [more, isSince, isUntil] of [
        [-1, 1, 0],
        [0, 1, 0],
        [1, 0, 1],
      ] as const) {
        const text = spell(more, offset);
        // A `+` that is not encoded means a blank in a query string.
        for (const written of new Set([encodeURIComponent(text), text])) {
          expect([text, await found(`since=${written}`)]).toEqual([text, [200, isSince]]);
          expect([text, await found(`until=${written}`)]).toEqual([text, [200, isUntil]]);
        }
      }
    }
  });

  test.each([
    ...['2016-12-31T23:59:60Z', '2017-01-01T01:59:60.5+02:00', '2024-02-29t00:00:00z', '0001-01-01T00:00:00Z'],
    ...['9999-12-31T23:59:59Z', '2026-01-01T00:00:00.123456789012Z'],
  ])('%s is one', async (time) => {
    expect((await request('GET', `/audit-events?since=${encodeURIComponent(time)}`)).status).toBe(200);
  });

  test.each([
    ...['2026-01-01', '2026-01-01T00:00:00', '2026-01-01T00:00Z', '2026-01-01 00:00:00Z', '2026-01-01T00:00:00+0200'],
    ...['2026-01-01T00:00:00+24:00', '2026-01-01T00:00:00+02:60', '2026-01-01T24:00:00Z', '2026-02-30T00:00:00Z'],
    ...['2023-02-29T00:00:00Z', '2016-12-31T22:59:60Z', '2016-12-31T23:59:61Z', '2026-01-01T00:00:00.Z', 'now'],
    ...['0000-06-01T00:00:00Z', '0001-01-01T00:00:00+00:01', '9999-12-31T23:59:59-00:01', '+010000-01-01T00:00:00Z'],
    ...['2026-13-01T00:00:00Z', '2026-01-01T00:00:00Z ', '٢٠٢٦-01-01T00:00:00Z'],
  ])('%s is none: 400 that names the parameter', async (time) => {
    const { status, body } = await request('GET', `/audit-events?until=${encodeURIComponent(time)}`);
    expect([status, body.errors]).toEqual([400, [expect.objectContaining({ pointer: '?until' })]]);
  });
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
