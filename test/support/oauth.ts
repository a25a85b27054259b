// What most OAuth tests do: the authorization code flow as a browser and an app, exchange, refresh.
// Honest apps use openid-client; these functions are for tests that need many tokens or a faulty
// request.

import { allowInsecureRequests, type ClientAuth, type Configuration, discovery } from 'openid-client';
import { type Answer, introspect, requestToken, type TestClient, toAnswer } from './admin.ts';
import type { TestServer } from './server.ts';
import { createUserAgent, pkcePair, signInAndAllow, type UserAgent } from './user-agent.ts';

export const REDIRECT_URI = 'https://app.example/callback';
export const ALICE = { username: 'alice', password: 'correct horse battery' };
/** RFC 7662 §2.2: all that a caller learns about a token that is not active or not its own */
export const INACTIVE = { active: false };

/** Members of a client that uses the authorization code flow. */
export const CODE_FLOW = { grant_types: ['authorization_code', 'refresh_token'], redirect_uris: [REDIRECT_URI] };
export const PUBLIC = { token_endpoint_auth_method: 'none' };

/** All that these functions need to know of a server. */
type Issuer = Pick<TestServer, 'issuer'>;
export type Params = Readonly<Record<string, string | undefined>>;

/** An authorization request; a parameter that is undefined is left out. */
export function authorizationUrl(issuer: string, params: Params): string {
  const all = { response_type: 'code', redirect_uri: REDIRECT_URI, scope: 'openid', state: 'a state', ...params };
  return `${issuer}/oauth2/authorize?${new URLSearchParams(defined(all))}`;
}

export interface IssuedCode {
  readonly code: string;
  readonly verifier: string;
  readonly back: URL;
}

/**
 * Signs in (as alice, in a new browser, unless told otherwise), allows, and comes back with a code.
 */
export async function obtainCode(
  server: Issuer,
  client: TestClient,
  params: Params = {},
  options: { agent?: UserAgent; user?: { username: string; password: string } } = {},
): Promise<IssuedCode> {
  const { verifier, challenge } = pkcePair();
  const url = authorizationUrl(server.issuer, {
    client_id: client.clientId,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    ...params,
  });
  const agent = options.agent ?? createUserAgent(server.issuer);
  const back = await signInAndAllow(agent, url, options.user ?? ALICE);
  const code = back.searchParams.get('code');
  if (code === null) throw new Error(`no code: ${back.href}`);
  return { code, verifier, back };
}

export function exchange(
  server: Issuer,
  client: TestClient,
  issued: IssuedCode,
  form: Params = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const all = {
    grant_type: 'authorization_code',
    code: issued.code,
    code_verifier: issued.verifier,
    redirect_uri: REDIRECT_URI,
    ...form,
  };
  return requestToken(server.issuer, client, defined(all), headers);
}

export interface UserTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly idToken: string;
}

/** The whole flow. @param params e.g. `{ scope: 'openid orders:read', resource: ORDERS }` */
export async function obtainTokens(
  server: Issuer,
  client: TestClient,
  params: Params = {},
  options: Parameters<typeof obtainCode>[3] = {},
  form: Params = {},
): Promise<UserTokens> {
  return toTokens(await exchange(server, client, await obtainCode(server, client, params, options), form));
}

export function toTokens(answer: Answer): UserTokens {
  if (answer.status !== 200) throw new Error(`no tokens: ${answer.status} ${JSON.stringify(answer.body)}`);
  return {
    accessToken: answer.body.access_token as string,
    refreshToken: answer.body.refresh_token as string,
    idToken: answer.body.id_token as string,
  };
}

export function refresh(server: Issuer, client: TestClient, refreshToken: string, form: Params = {}) {
  const all = { grant_type: 'refresh_token', refresh_token: refreshToken, ...form };
  return requestToken(server.issuer, client, defined(all));
}

/** A token by client_credentials. */
export async function clientToken(server: Issuer, client: TestClient, form: Record<string, string> = {}) {
  const answer = await requestToken(server.issuer, client, form);
  if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.access_token as string;
}

export async function isActive(server: Issuer, caller: TestClient, token: string): Promise<boolean> {
  const { status, body } = await introspect(server.issuer, caller, token);
  if (status !== 200 || typeof body.active !== 'boolean') throw new Error(`${status} ${JSON.stringify(body)}`);
  return body.active;
}

export function userinfo(server: Issuer, accessToken: string): Promise<Answer> {
  return fetch(`${server.issuer}/oauth2/userinfo`, { headers: { authorization: `Bearer ${accessToken}` } }).then(
    toAnswer,
  );
}

/** An honest app: openid-client, configured from our discovery document. */
export function honest(server: Issuer, client: TestClient, authentication?: ClientAuth): Promise<Configuration> {
  const secret = client.clientSecret === '' ? undefined : client.clientSecret;
  return discovery(new URL(server.issuer), client.clientId, secret, authentication, {
    execute: [allowInsecureRequests],
  });
}

/**
 * Of concurrent requests: how many succeeded, and the statuses and errors of the others, each once.
 */
export function tally(answers: readonly Answer[]) {
  const refused = answers.filter((answer) => answer.status !== 200);
  return {
    succeeded: answers.length - refused.length,
    refusals: [...new Set(refused.map((answer) => `${answer.status} ${answer.body.error}`))],
  };
}

/** What the server has logged as its own failure, from the given line on. */
export function loggedFailures(server: TestServer, from = 0): string[] {
  return server.logLines.slice(from).filter((line) => ['error', 'fatal'].includes(JSON.parse(line).level));
}

/** Without the parameters that are to be left out. */
export function defined(params: Params): Record<string, string> {
  return Object.fromEntries(
    Object.entries(params).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
