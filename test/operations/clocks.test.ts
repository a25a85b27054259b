// Two servers of one installation whose clocks differ. What is taken away on one is gone on the other,
// what is issued on one is valid on the other, and one whose clock is far off says that it is not ready.
//
// libfaketime (Debian's package `faketime`) sets the clock of one process. CI installs it.

import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { introspect, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { ALICE, CODE_FLOW, obtainTokens } from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { type LanyardProcess, launch, makeHome, removeHome, stop } from '../support/process.ts';
import { freePort, SECRET_KEY, startTestServer, type TestServer } from '../support/server.ts';
import { describeWhere } from '../support/where.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';
/** ld.so replaces $LIB. Not by the command `faketime`: signals would reach that, and not the server. */
const LIBRARY = '/usr/$LIB/faketime/libfaketime.so.1';
const isThere = spawnSync('faketime', ['--version']).error === undefined;

const describeWithFaketime = describeWhere(
  isThere,
  'only libfaketime sets the clock of one process, and it is not there',
);

describeWithFaketime('a server whose clock differs', () => {
  describe.each([-300, -4, -0.5, 0.5, 4, 300])('by %d seconds', (offset) => {
    let server: TestServer;
    let home: string;
    let other: LanyardProcess;
    let app: TestClient;
    let userId: string;

    beforeAll(async () => {
      // The issuer is that of both, so the other one is reached by its port.
      server = await startTestServer();
      await server.admin.createApi(JWT_API, { scopes: ['read'] });
      await server.admin.createApi(OPAQUE_API, { scopes: ['read'], access_token_format: 'opaque' });
      userId = await server.admin.createUser(ALICE.username, ALICE.password);
      home = await makeHome();
      const port = await freePort();
      other = await launch({
        home,
        port,
        env: {
          DATABASE_URL: server.connectionString,
          LANYARD_SECRET_KEY: SECRET_KEY,
          LANYARD_ISSUER: server.issuer,
          LANYARD_WORKERS: '1',
          LANYARD_TRUST_PROXY: '127.0.0.1,::1',
          LD_PRELOAD: LIBRARY,
          FAKETIME: `${offset < 0 ? '' : '+'}${offset}s`,
          FAKETIME_DONT_FAKE_MONOTONIC: '1',
        },
      });
      await other.says('Lanyard is running.');
      await until(async () => /^the clock|^undefined/.test(String((await readiness()).body.reason)), 'the first probe');
    });
    afterAll(async () => {
      await stop(other);
      await removeHome(home);
      await server.stop();
    });

    /** To the other server, as a balancer would send it. */
    const there = (path: string, client: TestClient, form: Record<string, string>) =>
      postForm(`${other.issuer}${path}`, client, form, { 'x-forwarded-host': new URL(server.issuer).host });
    const readiness = async () => toAnswer(await fetch(`${other.issuer}/health/ready`));

    async function newClient(): Promise<TestClient> {
      app = await server.admin.createClient({
        ...CODE_FLOW,
        grant_types: [...CODE_FLOW.grant_types, 'client_credentials'],
      });
      for (const api of [JWT_API, OPAQUE_API]) await server.admin.allow(app.clientId, api, ['read']);
      return app;
    }

    test('is ready, or says why not', async () => {
      const { status, body } = await readiness();
      expect(status).toBe(Math.abs(offset) > 5 ? 503 : 200);
      if (status === 503) expect(body.reason).toMatch(/^the clock differs from that of the database by 300 seconds$/);
    });

    test.each([JWT_API, OPAQUE_API])(
      'issues tokens for %s that are valid at once, and void once they are revoked',
      async (resource) => {
        const client = await newClient();
        const form = { grant_type: 'client_credentials', resource };
        const issued: string[] = [];
        for (let count = 0; count < 5; count++) {
          const answer = await there('/oauth2/token', client, form);
          expect(answer.status).toBe(200);
          issued.push(String(answer.body.access_token));
        }
        const areActive = () =>
          Promise.all(issued.map(async (token) => (await introspect(server.issuer, client, token)).body.active));
        expect(await areActive()).toEqual(issued.map(() => true));
        const revoked = await server.admin.request('POST', `/clients/${client.clientId}/revoke-tokens`);
        expect(revoked.status).toBe(200);
        expect(await areActive()).toEqual(issued.map(() => false));
        // What is issued after the revocation is valid, here and there.
        for (const issue of [
          () => there('/oauth2/token', client, form),
          () => postForm(`${server.issuer}/oauth2/token`, client, form),
        ]) {
          const token = String((await issue()).body.access_token);
          expect((await introspect(server.issuer, client, token)).body.active).toBe(true);
          if (Math.abs(offset) <= 5) {
            expect((await there('/oauth2/introspect', client, { token })).body.active).toBe(true);
          }
        }
      },
    );

    test('refreshes the tokens of a user, until they are revoked', async () => {
      const client = await newClient();
      const { refreshToken } = await obtainTokens(server, client, { scope: 'openid' });
      const first = await there('/oauth2/token', client, { grant_type: 'refresh_token', refresh_token: refreshToken });
      expect(first.status).toBe(200);
      const token = String(first.body.access_token);
      expect((await introspect(server.issuer, client, token)).body.active).toBe(true);
      expect((await server.admin.request('POST', `/users/${userId}/revoke-tokens`)).status).toBe(200);
      expect((await introspect(server.issuer, client, token)).body.active).toBe(false);
      const again = { grant_type: 'refresh_token', refresh_token: String(first.body.refresh_token ?? refreshToken) };
      expect((await there('/oauth2/token', client, again)).status).toBe(400);
    });
  });
});
