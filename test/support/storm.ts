// Many concurrent writes against a running server, which a test then kills: clients are registered,
// tokens issued, refresh tokens rotated, until no request is answered any more. It keeps what was
// answered, which must be stored afterwards.

import { createAdminClient, requestToken, type TestClient } from './admin.ts';
import { CODE_FLOW, obtainTokens, PUBLIC, refresh } from './oauth.ts';
import type { TestServer } from './server.ts';

const OPAQUE_API = 'https://opaque.example';
const USER = { username: 'storm', password: 'a password for the storm' };
const REFRESH_LOOPS = 4;
const REGISTRARS = 3;

export interface Storm {
  /** registered and answered with 201 */
  readonly clients: TestClient[];
  /** the newest refresh token that each loop has received */
  readonly refreshTokens: string[];
  readonly app: TestClient;
  /** how many answers came */
  count(): number;
  /**
   * Resolves when every loop has lost the server; rejects when a request was refused before that.
   */
  readonly over: Promise<void>;
}

/** Makes the API, the app and the user, once for an installation. */
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
  for (let loop = 0; loop < REFRESH_LOOPS; loop++) {
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

  async function refreshOnAndOn(loop: number): Promise<void> {
    for (;;) {
      const { status, body } = await refresh(server, app, refreshTokens[loop] as string);
      if (status !== 200) throw new Error(`not refreshed: ${status} ${JSON.stringify(body)}`);
      refreshTokens[loop] = body.refresh_token as string;
      answers++;
    }
  }

  const loops = [
    ...Array.from({ length: REGISTRARS }, registerOnAndOn),
    ...refreshTokens.map((_, loop) => refreshOnAndOn(loop)),
  ];
  const over = Promise.all(loops.map((loop) => loop.catch(assertGone))).then(() => {});
  over.catch(() => {}); // awaited later than it may reject
  return { clients, refreshTokens, app, count: () => answers, over };
}

/**
 * A killed server shows as `fetch failed` or as a body that is cut off; a refusal is something
 * else.
 */
function assertGone(error: unknown): void {
  if ((error as Error).name === 'TypeError') return; // of Node's realm, not of Jest's
  // The answer while the database is going down: a server error.
  if (/\b(500|503|temporarily_unavailable)\b/.test(String(error))) return;
  throw error;
}
