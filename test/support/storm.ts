// Many writes at once against a running server, until a kill: clients are registered, tokens issued, refresh tokens rotated. It keeps what
// was answered, which must be stored afterwards.

import { createAdminClient, requestToken, type TestClient } from './admin.ts';
import { CODE_FLOW, obtainTokens, PUBLIC, refresh } from './oauth.ts';
import type { TestServer } from './server.ts';

const OPAQUE_API = 'https://opaque.example';
const USER = { username: 'storm', password: 'a password for the storm' };
const TOKEN_FAMILIES = 4;
const REGISTRARS = 3;

export interface Storm {
  /** registered and answered with 201 */
  readonly clients: TestClient[];
  /** the newest refresh token of each token family that was answered */
  readonly refreshTokens: string[];
  readonly app: TestClient;
  /** how many answers came */
  count(): number;
  /** Resolves when every loop has met the end of the server; rejects when one was refused before that. */
  readonly over: Promise<void>;
}

/** Registers the API, the app and the user, once for an installation. */
export async function prepareStorm(issuer: string, adminSecret: string): Promise<TestClient> {
  const admin = createAdminClient(issuer, adminSecret);
  await admin.createApi(OPAQUE_API, { scopes: ['read'], access_token_format: 'opaque' });
  await admin.createUser(USER.username, USER.password);
  const app = await admin.createClient({ ...CODE_FLOW, ...PUBLIC });
  await admin.allow(app.clientId, OPAQUE_API, ['read']);
  return app;
}

export async function startStorm(issuer: string, adminSecret: string, app: TestClient): Promise<Storm> {
  const admin = createAdminClient(issuer, adminSecret);
  await admin.token();
  const server = { issuer } as TestServer;
  const refreshTokens: string[] = [];
  for (let family = 0; family < TOKEN_FAMILIES; family++) {
    const params = { scope: 'openid read', resource: OPAQUE_API };
    refreshTokens.push((await obtainTokens(server, app, params, { user: USER })).refreshToken);
  }
  const clients: TestClient[] = [];
  let answers = 0;

  async function registerOnAndOn(): Promise<void> {
    for (;;) {
      const client = await admin.createClient();
      clients.push(client);
      await admin.allow(client.clientId, OPAQUE_API, ['read']);
      const { status, body } = await requestToken(issuer, client, {});
      if (status !== 200) throw new Error(`no token: ${status} ${JSON.stringify(body)}`);
      answers += 3;
    }
  }

  async function refreshOnAndOn(family: number): Promise<void> {
    for (;;) {
      const { status, body } = await refresh(server, app, refreshTokens[family] as string);
      if (status !== 200) throw new Error(`not refreshed: ${status} ${JSON.stringify(body)}`);
      refreshTokens[family] = body.refresh_token as string;
      answers++;
    }
  }

  const loops = [
    ...Array.from({ length: REGISTRARS }, registerOnAndOn),
    ...refreshTokens.map((_, family) => refreshOnAndOn(family)),
  ];
  const over = Promise.all(loops.map((loop) => loop.catch(assertGone))).then(() => {});
  over.catch(() => {}); // a caller may await it later
  return { clients, refreshTokens, app, count: () => answers, over };
}

/** A killed server shows as `fetch failed` or a broken body; a refusal is none of these. */
function assertGone(error: unknown): void {
  if ((error as Error).name === 'TypeError') return; // of Node's realm, not of Jest's
  // A request that failed because its database was killed.
  if (/\b(500|503|temporarily_unavailable)\b/.test(String(error))) return;
  throw error;
}
