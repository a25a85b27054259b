// The pages: addresses, forms and cookies that no browser sends, and requests whose text is unusual
// but right.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { TestClient } from '../support/admin.ts';
import { startWithApp } from '../support/garbage.ts';
import { ALICE, authorizationUrl, obtainCode } from '../support/oauth.ts';
import { expectNoFaults, type OddRequest } from '../support/odd-requests.ts';
import type { TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair, type UserAgent } from '../support/user-agent.ts';

let server: TestServer;
let app: TestClient;

beforeAll(async () => {
  ({ server, app } = await startWithApp());
});
afterAll(() => server.stop());

function signInUrl(params: Record<string, string> = {}): string {
  const { challenge } = pkcePair();
  const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
  return authorizationUrl(server.issuer, { client_id: app.clientId, ...pkce, ...params });
}

const cookiesOf = (agent: UserAgent) => agent.cookies.map(({ name, value }) => `${name}=${value}`).join('; ');

const ODD = [
  '%00',
  '%ff',
  '%C0%80',
  '%ED%A0%80',
  '%',
  '%zz',
  '..',
  '%2f',
  '%F0%9F%98%80',
  '__proto__',
  'x'.repeat(3_000),
];

test('addresses', async () => {
  const requests = ODD.flatMap((odd) =>
    ['', '/', '/login', '/consent', '/cancel', `/${odd}`].flatMap((rest) =>
      ['GET', 'POST'].map((method): OddRequest => {
        const path = `/interaction/${odd}${rest}`;
        const headers = { 'content-type': 'application/x-www-form-urlencoded' };
        const init = { method, redirect: 'manual' as const, ...(method === 'POST' ? { headers, body: 'a=b' } : {}) };
        return { label: `${method} ${path.slice(0, 60)}`, send: () => fetch(server.issuer + path, init) };
      }),
    ),
  );
  await expectNoFaults(server, app, requests);
});

test('forms of an interaction that is underway', async () => {
  const agent = createUserAgent(server.issuer);
  const page = await agent.visit(signInUrl());
  const action = formAction(page.html, 'login');
  const cookie = cookiesOf(agent);
  const forms: [form: string, refusedNaming?: string][] = [
    ...['%00', '%ff', '%C0%80', '%ED%A0%80'].flatMap((odd): [string, string][] => [
      [`username=a${odd}&password=x`, '/username'],
      [`username=a&password=${odd}`, '/password'],
      [`${odd}=a&username=a&password=x`, ''],
    ]),
    ...['', '&', '=', 'username=a&username=b', '__proto__=x', 'username=%F0%9F%98%80&password=%D7%A9', '%', '{}'].map(
      (form): [string] => [form],
    ),
    ['a=1&'.repeat(1_001), 'parameters'],
  ];
  const requests = ['login', 'cancel', 'consent'].flatMap((step) =>
    forms.map(([form, refusedNaming]): OddRequest => {
      const headers = { 'content-type': 'application/x-www-form-urlencoded', cookie };
      const url = server.issuer + action.replace(/login$/, step);
      const send = () => fetch(url, { method: 'POST', redirect: 'manual', headers, body: form });
      return {
        label: `${step} ${form.slice(0, 60)}`,
        send,
        refusedNaming: step === 'login' ? refusedNaming : undefined,
      };
    }),
  );
  await expectNoFaults(
    server,
    app,
    requests.filter(({ label }) => !label.startsWith('cancel')),
  );
  await expectNoFaults(
    server,
    app,
    requests.filter(({ label }) => label.startsWith('cancel')),
  );
});

test('cookies', async () => {
  const agent = createUserAgent(server.issuer);
  await agent.visit(signInUrl());
  const names = [...new Set(agent.cookies.map(({ name }) => name))];
  const requests = names.flatMap((name) =>
    [...ODD, '', '"', '{"toString":1}', '\u00ff', 'a; a', `x; ${name}.sig=x`].flatMap((odd) =>
      ['/oauth2/authorize', '/interaction/x', '/oauth2/logout', '/oauth2/device'].map((path): OddRequest => {
        const headers = { cookie: `${name}=${odd}` };
        return { label: `${path} ${name}=${odd.slice(0, 30)}`, send: () => fetch(server.issuer + path, { headers }) };
      }),
    ),
  );
  await expectNoFaults(server, app, requests);
});

describe('text that is unusual but right', () => {
  const TEXTS = ['😀 👩‍👩‍👧', 'שלום\u200f', 'e\u0301\u0323', '𠮷野家', '\ufffd', '\\u0000 \\ud800', '%00', 'a\u202eb'];

  test('travels through a sign-in, and comes back as it was', async () => {
    for (const text of TEXTS) {
      const claims = JSON.stringify({ id_token: { email: { value: text } } });
      const { back } = await obtainCode(server, app, { state: text, nonce: text, login_hint: text, claims });
      expect(back.searchParams.get('state')).toBe(text);
    }
  });

  test('is a username like any other where PRECIS takes it, and is refused by its name elsewhere', async () => {
    let taken = 0;
    for (const [index, text] of TEXTS.entries()) {
      const user = { username: `${index} ${text}`, password: ALICE.password };
      const { status, body } = await server.admin.request('POST', '/users', user);
      if (status === 201) {
        expect((await obtainCode(server, app, {}, { user })).code).not.toBe('');
        taken += 1;
      } else {
        expect(status).toBe(400);
        expect(body.errors).toEqual([{ pointer: '/username', detail: expect.stringMatching(/^must not/) }]);
      }
    }
    expect(taken).toBe(4);
  });
});
