// A logout notice survives kill -9: a user who signed out just before a crash is signed out at the apps too.

import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { createAdminClient } from '../support/admin.ts';
import { type LogoutReceiver, startLogoutReceiver } from '../support/logout-receiver.ts';
import { ALICE, CODE_FLOW, obtainTokens } from '../support/oauth.ts';
import { makeHome, removeHome, start, stop, stopAll } from '../support/process.ts';
import { freePort, type TestServer } from '../support/server.ts';
import { createUserAgent } from '../support/user-agent.ts';

let home: string;
let receiver: LogoutReceiver;
beforeAll(async () => {
  home = await makeHome();
  receiver = await startLogoutReceiver();
});
afterEach(stopAll);
afterAll(async () => {
  receiver.close();
  await removeHome(home);
});

test('a notice that was underway at kill -9 is delivered after the next start', async () => {
  const port = await freePort();
  const env = { LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: receiver.host };
  const lanyard = await start({ home, port, env });
  const { issuer } = lanyard;
  const admin = createAdminClient(issuer, lanyard.adminSecret as string);
  const userId = await admin.createUser(ALICE.username, ALICE.password);
  const app = await admin.createClient({ ...CODE_FLOW, backchannel_logout_uri: `${receiver.url}/logout` });
  const agent = createUserAgent(issuer);
  const { idToken } = await obtainTokens({ issuer } as TestServer, app, {}, { agent });

  // The app is slow: the request is underway when the server dies.
  receiver.answerWith(() => {});
  const page = await agent.visit(`${issuer}/oauth2/logout`);
  const xsrf = /name="xsrf" value="([^"]*)"/.exec(page.html)?.[1] as string;
  await agent.submit(`${issuer}/oauth2/logout/confirm`, { xsrf, logout: 'yes' });
  await receiver.wait('/logout');
  lanyard.kill('SIGKILL');
  await lanyard.exited;
  expect(lanyard.stdout + lanyard.stderr).not.toContain('failed to setup SSRF protection');

  receiver.answerWith((response) => response.end());
  const again = await start({ home, port, env });
  const [lost, delivered] = await receiver.wait('/logout', 2);
  expect(delivered?.logoutToken).not.toBe(lost?.logoutToken);
  const claims = decodeJwt(delivered?.logoutToken as string);
  expect(claims).toMatchObject({ iss: issuer, aud: app.clientId, sub: userId });
  expect(claims.exp as number).toBeGreaterThan(Date.now() / 1000);
  expect(decodeJwt(idToken).sub).toBe(userId);
  expect(await stop(again)).toBe(0);
});
