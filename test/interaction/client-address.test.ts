// From which address a login comes, behind proxies: that is what is throttled and recorded. A
// client that could choose its address would have fresh attempts for each guess.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  server = await startTestServer({
    LANYARD_TRUST_PROXY: '127.0.0.1, 10.0.0.0/8, 2001:db8:ffff::/48',
    LANYARD_LOGIN_FAILURES_PER_ADDRESS: '3',
    LANYARD_LOGIN_FAILURES_PER_ACCOUNT: '1000',
  });
  app = await server.admin.createClient({ redirect_uris: ['https://app.example/cb'] });
});
afterAll(() => server.stop());
beforeEach(() => server.sql.query('TRUNCATE login_throttle'));

/** @returns the status of a login with a wrong password */
async function guess(forwardedFor: string): Promise<number> {
  const agent = createUserAgent(server.issuer);
  const params = {
    client_id: app.clientId,
    response_type: 'code',
    redirect_uri: 'https://app.example/cb',
    scope: 'openid',
    code_challenge: pkcePair().challenge,
    code_challenge_method: 'S256',
  };
  const page = await agent.visit(`${server.issuer}/oauth2/authorize?${new URLSearchParams(params)}`);
  const fields = { username: 'alice', password: 'a wrong guess' };
  const answer = await agent.submit(formAction(page.html, 'login'), fields, { 'x-forwarded-for': forwardedFor });
  return answer.status;
}

async function recordedAddress(): Promise<unknown> {
  const { rows } = await server.sql.query(
    `SELECT detail->>'address' AS address FROM audit_events WHERE type = 'login.failed' ORDER BY id DESC LIMIT 1`,
  );
  return rows[0]?.address;
}

describe('the address of a client behind proxies', () => {
  test.each([
    ['is the one that the only proxy saw', '203.0.113.7', '203.0.113.7'],
    ['is the one that the outer of two proxies saw', '203.0.113.7, 10.0.0.9', '203.0.113.7'],
    ['cannot be invented behind one proxy', '198.51.100.66, 203.0.113.7', '203.0.113.7'],
    ['cannot be invented behind two proxies', '198.51.100.66, 203.0.113.7, 10.0.0.9', '203.0.113.7'],
    ['cannot be hidden behind the invented address of a proxy', '10.0.0.1, 203.0.113.7, 10.0.0.9', '203.0.113.7'],
    ['is that of the first proxy for a request of its own', '10.0.0.8, 10.0.0.9', '10.0.0.8'],
    ['is that of the last proxy where the header is no address', 'unknown, 10.0.0.9', '10.0.0.9'],
    ['is not taken from the rest of a header with an invalid entry', '203.0.113.7, 1:1:1:5', '127.0.0.1'],
    ['is not taken from an octal address', '010.0.0.1', '127.0.0.1'],
    ['is not taken from a shortened address', '203.7', '127.0.0.1'],
    ['is an IPv6 address in its usual spelling', '2001:DB8:0:0::0007', '2001:db8::7'],
    ['is IPv4 when it is written as IPv6', '::ffff:cb00:7107, 10.0.0.9', '203.0.113.7'],
    ['is found behind proxies of IPv6', '203.0.113.7, 2001:db8:ffff::1', '203.0.113.7'],
    ['has no port', '198.51.100.66:1, 203.0.113.7:4711, 10.0.0.9:80', '203.0.113.7'],
    ['has neither brackets nor port', '[2001:db8::7]:4711, [2001:db8:ffff::1]', '2001:db8::7'],
  ])('%s', async (_what, forwardedFor, expected) => {
    expect(await guess(forwardedFor)).toBe(403);
    expect(await recordedAddress()).toBe(expected);
  });
});

describe('attempts per address', () => {
  test('are counted for a whole /64 of IPv6: one subscriber has 2^64 addresses to guess from', async () => {
    const ownNetwork = ['2001:db8:1:1::1', '2001:db8:1:1::2', '2001:db8:1:1:ffff:ffff:ffff:ffff'];
    for (const address of ownNetwork) expect(await guess(address)).toBe(403);
    for (const address of ['2001:db8:1:1::4', '2001:0DB8:1:1::5']) expect(await guess(address)).toBe(429);
    expect(await guess('2001:db8:1:2::1')).toBe(403);
  });

  test('are counted for each IPv4 address: neighbours do not use up one another’s', async () => {
    for (const address of ['203.0.113.1', '203.0.113.1', '::ffff:203.0.113.1']) expect(await guess(address)).toBe(403);
    expect(await guess('203.0.113.1')).toBe(429);
    expect(await guess('203.0.113.2')).toBe(403);
  });

  test('do not begin again with each port of a client', async () => {
    for (const port of [1001, 1002, 1003]) expect(await guess(`203.0.113.1:${port}`)).toBe(403);
    expect(await guess('203.0.113.1:1004')).toBe(429);
  });
});
