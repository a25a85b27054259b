// Operations with a user: userinfo, code exchange, rotation of a refresh token, the whole login.

import { Agent } from 'node:http';
import { username } from '../fixtures.ts';
import { createBrowser } from '../load/browser.ts';
import { clientForm, clientHeaders, expectJson, postForm } from '../load/http.ts';
import { BOTH, type Operation } from './operation.ts';
import { codeFields, obtainCode, obtainCodes, obtainTokens } from './sign-in.ts';

/**
 * Tokens per login. The memory adapter of the engine walks all tokens of a grant at each issuance,
 * so that a few grants with thousands of tokens would measure that.
 */
const CODES_PER_LOGIN = 20;
const REFRESHES_PER_LOGIN = 20;
const LOGINS_PER_SECOND_OF_ROUND = 40;

const TOKENS = ['"access_token":"', '"refresh_token":"'];

export const userinfo: Operation = {
  id: 'userinfo',
  title: 'userinfo',
  measuredOn: BOTH,
  async prepare(subject) {
    const [tokens] = await withAgent((agent) => obtainTokens(subject, subject.fixtures.app, 1, agent));
    return {
      kind: 'requests',
      method: 'GET',
      path: '/oauth2/userinfo',
      headers: { authorization: `Bearer ${tokens?.accessToken}` },
      wanted: ['"sub":"'],
    };
  },
};

export const codeExchange: Operation = {
  id: 'code-exchange',
  title: 'code exchange',
  measuredOn: BOTH,
  async prepare(subject, { connections, seconds }) {
    const { app } = subject.fixtures;
    const logins = loginsFor(connections, seconds);
    const byLogin = await withAgent((agent) => obtainCodes(subject, app, logins, CODES_PER_LOGIN, agent));
    // Consecutive requests are of different users.
    const codes = Array.from({ length: CODES_PER_LOGIN }, (_, turn) => byLogin.map((own) => own[turn])).flat();
    return {
      kind: 'requests',
      method: 'POST',
      path: '/oauth2/token',
      headers: clientHeaders(app),
      body: { queue: codes.map((code) => clientForm(app, codeFields(code as string))), budget: codes.length },
      wanted: [...TOKENS, '"id_token":"'],
    };
  },
};

export const refreshRotation: Operation = {
  id: 'refresh-rotation',
  title: 'refresh with rotation',
  measuredOn: BOTH,
  async prepare(subject, { connections, seconds }) {
    const { app } = subject.fixtures;
    const logins = loginsFor(connections, seconds);
    const tokens = await withAgent((agent) => obtainTokens(subject, app, logins, agent));
    const before = `${clientForm(app, { grant_type: 'refresh_token' })}&refresh_token=`;
    return {
      kind: 'requests',
      method: 'POST',
      path: '/oauth2/token',
      headers: clientHeaders(app),
      body: {
        // First in, first out; there are at least as many tokens as connections.
        queue: tokens.map(({ refreshToken }) => before + refreshToken),
        budget: logins * REFRESHES_PER_LOGIN,
        next: { before, member: 'refresh_token' },
      },
      wanted: TOKENS,
    };
  },
};

export const login: Operation = {
  id: 'login',
  title: 'whole login (8 requests)',
  measuredOn: BOTH,
  remark: 'The engine hashes no password.',
  async prepare(subject, { connections }) {
    const { app } = subject.fixtures;
    const agent = new Agent({ keepAlive: true, maxSockets: connections });
    return {
      kind: 'loop',
      async pass(index) {
        const browser = createBrowser(subject.url, agent);
        // With stored consent, the consent page is shown for prompt=consent only.
        const code = await obtainCode(browser, app, username(index), { prompt: 'consent' });
        const tokens = await expectJson(200, postForm(`${subject.url}/oauth2/token`, app, codeFields(code), agent));
        if (tokens.id_token === undefined) throw new Error('no ID token');
      },
      end: () => agent.destroy(),
    };
  },
};

/** Enough for the round, and at least one for each connection. */
function loginsFor(connections: number, seconds: number): number {
  return Math.max(connections, Math.ceil(seconds * LOGINS_PER_SECOND_OF_ROUND));
}

async function withAgent<T>(work: (agent: Agent) => Promise<T>): Promise<T> {
  const agent = new Agent({ keepAlive: true });
  try {
    return await work(agent);
  } finally {
    agent.destroy();
  }
}
