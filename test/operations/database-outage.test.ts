// A database that cannot be used, in each of the ways that were seen: every endpoint says so with
// 503 in bounded time, /health/ready too, and all of them work again afterwards.

import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import pg from 'pg';
import {
  type Answer,
  introspect,
  postForm,
  requestToken,
  revoke,
  type TestClient,
  toAnswer,
} from '../support/admin.ts';
import { type HeldLock, lockTable } from '../support/hold.ts';
import {
  authorizationUrl,
  CODE_FLOW,
  clientToken,
  exchange,
  type IssuedCode,
  obtainCode,
  obtainTokens,
  REDIRECT_URI,
  refresh,
  userinfo,
} from '../support/oauth.ts';
import { eventually, until } from '../support/patience.ts';
import { type CuttableProxy, startProxy } from '../support/proxy.ts';
import { startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, type UserAgent } from '../support/user-agent.ts';

const API = 'https://orders.example';
/** Several deadlines of the database, one after the other. */
const BOUND_MS = 20_000;

let server: TestServer;
let proxy: CuttableProxy;
let app: TestClient;
let shop: TestClient;

beforeAll(async () => {
  server = await startTestServer(
    {},
    {
      async through(connectionString) {
        proxy = await startProxy(connectionString);
        return asOrdinaryRole(connectionString, proxy.connectionString);
      },
    },
  );
  await server.admin.createApi(API, { scopes: ['read'], access_token_format: 'opaque' });
  app = await server.admin.createClient();
  await server.admin.allow(app.clientId, API, ['read']);
  shop = await server.admin.createClient({
    ...CODE_FLOW,
    grant_types: [...CODE_FLOW.grant_types, 'urn:ietf:params:oauth:grant-type:device_code'],
  });
  await server.admin.createUser('alice', 'correct horse battery');
});
afterAll(async () => {
  await server.stop();
  await proxy.stop();
  await asSuperuser(process.env.LANYARD_TEST_POSTGRES_URL, `DROP ROLE ${ROLE}`);
});

/** No limit of connections holds for a superuser. */
const ROLE = `outage_${randomBytes(4).toString('hex')}`;

/** @param path leads to the same database */
async function asOrdinaryRole(connectionString: string, path: string): Promise<string> {
  const url = new URL(path);
  [url.username, url.password] = [ROLE, ROLE];
  await asSuperuser(
    connectionString,
    `CREATE ROLE ${ROLE} LOGIN PASSWORD '${ROLE}';
     GRANT ALL ON ALL TABLES IN SCHEMA public TO ${ROLE};
     GRANT CREATE ON DATABASE ${url.pathname.slice(1)} TO ${ROLE}`,
  );
  return url.href;
}

async function asSuperuser(connectionString: string | undefined, statements: string): Promise<void> {
  const superuser = new pg.Client({ connectionString });
  await superuser.connect();
  await superuser.query(statements);
  await superuser.end();
}

interface Prepared {
  readonly adminToken: string;
  readonly token: string;
  readonly code: IssuedCode;
  readonly userTokens: { readonly accessToken: string; readonly refreshToken: string };
  readonly agent: UserAgent;
  readonly loginUrl: string;
  readonly loginAction: string;
}

async function prepare(): Promise<Prepared> {
  const agent = createUserAgent(server.issuer);
  const login = await agent.visit(authorizationUrl(server.issuer, loginParams()));
  return {
    adminToken: await server.admin.token(),
    token: await clientToken(server, app),
    code: await obtainCode(server, shop),
    userTokens: await obtainTokens(server, shop, { scope: 'openid offline_access', prompt: 'consent' }),
    agent,
    loginUrl: login.url,
    loginAction: formAction(login.html, 'login'),
  };
}

const loginParams = () => ({
  client_id: shop.clientId,
  redirect_uri: REDIRECT_URI,
  code_challenge: 'x'.repeat(43),
  code_challenge_method: 'S256',
});

type Send = (prepared: Prepared) => Promise<{ status: number; headers: Headers }>;

const adminRequest =
  (method: string, path: string, body?: object): Send =>
  ({ adminToken }) =>
    fetch(`${server.issuer}/admin/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${adminToken}`, ...(body && { 'content-type': 'application/json' }) },
      body: body === undefined ? null : JSON.stringify(body),
    });

/** All endpoints that need the database, and whether each writes. */
const ENDPOINTS: Record<string, { readonly send: Send; readonly writes: boolean }> = {
  'token (client credentials)': { send: () => requestToken(server.issuer, app), writes: true },
  'token (code)': { send: ({ code }) => exchange(server, shop, code), writes: true },
  'token (refresh)': { send: ({ userTokens }) => refresh(server, shop, userTokens.refreshToken), writes: true },
  introspection: { send: ({ token }) => introspect(server.issuer, app, token), writes: false },
  userinfo: { send: ({ userTokens }) => userinfo(server, userTokens.accessToken), writes: false },
  revocation: { send: ({ token }) => revoke(server.issuer, app, token), writes: true },
  'pushed request': {
    send: () =>
      postForm(`${server.issuer}/oauth2/par`, shop, { ...loginParams(), response_type: 'code', scope: 'openid' }),
    writes: true,
  },
  'device authorization': {
    send: () => postForm(`${server.issuer}/oauth2/device_authorization`, shop, { scope: 'openid' }),
    writes: true,
  },
  'authorization request': {
    async send({ agent }) {
      const visit = await agent.visit(authorizationUrl(server.issuer, loginParams()));
      // RFC 6749 §4.1.2.1: where the client is known, it is told by a redirect, which has no such status.
      const isTold = visit.leavesTo?.searchParams.get('error') === 'temporarily_unavailable';
      return isTold ? { ...visit, status: 503 } : visit;
    },
    writes: true,
  },
  'sign-in page': { send: ({ agent, loginUrl }) => agent.visit(loginUrl), writes: false },
  'sign-in': {
    send: ({ agent, loginAction }) =>
      agent.submit(loginAction, { username: 'alice', password: 'correct horse battery' }),
    writes: true,
  },
  'admin list': { send: adminRequest('GET', '/clients'), writes: false },
  'admin change': {
    send: adminRequest('POST', '/users', { username: 'bob', password: 'another pass phrase' }),
    writes: true,
  },
};

interface Fault {
  begin(): Promise<void>;
  end(): Promise<void>;
  readonly onlyWrites?: boolean;
}

const databaseName = () => new URL(server.connectionString).pathname.slice(1);

/** On a connection to another database, since new ones to this may be refused. */
async function change(statement: string): Promise<void> {
  await asSuperuser(
    process.env.LANYARD_TEST_POSTGRES_URL,
    `ALTER DATABASE ${databaseName()} ${statement};
     SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE datname = '${databaseName()}' AND application_name LIKE 'lanyard%'`,
  );
}

let locks: HeldLock[] = [];

const FAULTS: Record<string, Fault> = {
  away: {
    begin: () => change('ALLOW_CONNECTIONS false'),
    end: () => change('ALLOW_CONNECTIONS true'),
  },
  'at its limit of connections': {
    begin: () => change('CONNECTION LIMIT 0'),
    end: () => change('CONNECTION LIMIT -1'),
  },
  'silent, to new connections too': {
    begin: async () => proxy.cut(),
    end: async () => proxy.mend(),
  },
  'read-only': {
    begin: () => change('SET default_transaction_read_only = on'),
    end: () => change('RESET default_transaction_read_only'),
    onlyWrites: true,
  },
  full: {
    async begin() {
      await server.sql.query(`
        CREATE FUNCTION test_full() RETURNS trigger LANGUAGE plpgsql AS
          $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$;
        CREATE TRIGGER test_full BEFORE INSERT ON oidc_artifacts FOR EACH ROW EXECUTE FUNCTION test_full();
        CREATE TRIGGER test_full BEFORE INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION test_full();
        CREATE TRIGGER test_full BEFORE INSERT ON readiness_probes FOR EACH ROW EXECUTE FUNCTION test_full()`);
    },
    end: async () => void (await server.sql.query('DROP FUNCTION test_full CASCADE')),
    onlyWrites: true,
  },
  locked: {
    async begin() {
      locks = await Promise.all(
        ['oidc_artifacts', 'clients', 'users'].map((table) => lockTable(server.connectionString, table)),
      );
    },
    end: async () => void (await Promise.all(locks.map((lock) => lock.release()))),
    onlyWrites: true,
  },
};

const ready = async () => toAnswer(await fetch(`${server.issuer}/health/ready`));

async function timed(send: () => ReturnType<Send>) {
  const startedAt = performance.now();
  const { status, headers } = await send();
  return { status, retryAfter: headers.get('retry-after'), ms: performance.now() - startedAt };
}

describe.each(Object.entries(FAULTS))('a database that is %s', (_fault, { begin, end, onlyWrites = false }) => {
  test('is 503 at every endpoint in bounded time, and they work again afterwards', async () => {
    await until(async () => (await ready()).status === 200, 'readiness before');
    const prepared = await prepare();
    await begin();
    const endpoints = Object.entries(ENDPOINTS).filter(([, { writes }]) => writes || !onlyWrites);
    let answers: [string, Awaited<ReturnType<typeof timed>>][];
    let notReady: Answer;
    try {
      answers = await Promise.all(
        endpoints.map(async ([name, { send }]) => [name, await timed(() => send(prepared))] as const),
      ).then((all) => all.map(([name, answer]) => [name, answer]));
      notReady = await eventually(async () => {
        const answer = await ready();
        expect(answer.status).toBe(503);
        return answer;
      });
    } finally {
      await end();
    }
    for (const [name, { status, ms }] of answers) {
      expect([name, status]).toEqual([name, 503]);
      expect([name, ms < BOUND_MS]).toEqual([name, true]);
    }
    expect(notReady.body).toMatchObject({ status: 'not ready', reason: 'the database does not take writes' });
    await until(async () => (await ready()).status === 200, 'readiness afterwards');
    await until(async () => (await requestToken(server.issuer, app)).status === 200, 'a token afterwards');
  });
});
