// Signs users in, for the operations that need codes, refresh tokens or access tokens for userinfo.

import { createHash } from 'node:crypto';
import type { Agent } from 'node:http';
import { type ClientLogin, REDIRECT_URI, username } from '../fixtures.ts';
import { type Browser, createBrowser } from '../load/browser.ts';
import { expectJson, inParallel, postForm } from '../load/http.ts';
import type { Subject } from '../subjects/subject.ts';

/** One for all requests: its value does not change the work of the servers. */
const VERIFIER = 'a'.repeat(43);
const CHALLENGE = createHash('sha256').update(VERIFIER).digest('base64url');
/** Each login costs a password hash, so that more at once only wait for each other. */
const LOGINS_AT_ONCE = 4;
export const USER_COUNT = 64;

export interface UserTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
}

export function authorizationPath(client: ClientLogin, params: Record<string, string> = {}): string {
  const query = new URLSearchParams({
    client_id: client.clientId,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope: 'openid',
    code_challenge: CHALLENGE,
    code_challenge_method: 'S256',
    ...params,
  });
  return `/oauth2/authorize?${query}`;
}

export function codeFields(code: string): Record<string, string> {
  return { grant_type: 'authorization_code', code, code_verifier: VERIFIER, redirect_uri: REDIRECT_URI };
}

export async function obtainCode(
  browser: Browser,
  client: ClientLogin,
  user: string,
  params?: Record<string, string>,
): Promise<string> {
  const back = await browser.signInAndAllow(authorizationPath(client, params), user);
  const code = back.searchParams.get('code');
  if (code === null) throw new Error(`no code: ${back.href}`);
  return code;
}

/** Each login has its own session and grant. */
export function obtainCodes(subject: Subject, client: ClientLogin, logins: number, perLogin: number, agent: Agent) {
  return inParallel(logins, LOGINS_AT_ONCE, async (index) => {
    const browser = createBrowser(subject.url, agent);
    const codes: string[] = [];
    // After the first one, the session is signed in and has consented.
    while (codes.length < perLogin) codes.push(await obtainCode(browser, client, username(index % USER_COUNT)));
    return codes;
  });
}

export async function obtainTokens(
  subject: Subject,
  client: ClientLogin,
  logins: number,
  agent: Agent,
): Promise<UserTokens[]> {
  const codes = (await obtainCodes(subject, client, logins, 1, agent)).flat();
  return inParallel(logins, LOGINS_AT_ONCE, async (index) => {
    const fields = codeFields(codes[index] as string);
    const tokens = await expectJson(200, postForm(`${subject.url}/oauth2/token`, client, fields, agent));
    return { accessToken: String(tokens.access_token), refreshToken: String(tokens.refresh_token) };
  });
}
