// kill -9 of the server at the moment when a sign-in is stored. Afterwards the browser is signed in
// as before, and what it had been in the middle of goes on.

import { afterAll, afterEach, expect, test } from '@jest/globals';
import { createAdminClient } from '../support/admin.ts';
import { countBlocked, holdInserts } from '../support/hold.ts';
import { ALICE, authorizationUrl, CODE_FLOW, isActive, obtainTokens } from '../support/oauth.ts';
import { until } from '../support/patience.ts';
import { connectionStringOf, makeHome, removeHome, start, stop, stopAll, withDatabase } from '../support/process.ts';
import { freePort, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const homes: string[] = [];
afterEach(stopAll);
afterAll(() => Promise.all(homes.map(removeHome)));

test.each(['Session', 'AuthorizationCode'])(
  'kill -9 while a consent stores its %s: the user is still signed in',
  async (model) => {
    const home = await makeHome();
    homes.push(home);
    const port = await freePort();
    const lanyard = await start({ home, port });
    const server = { issuer: lanyard.issuer } as TestServer;
    const admin = createAdminClient(lanyard.issuer, lanyard.adminSecret as string);
    await admin.createUser(ALICE.username, ALICE.password);
    const [app, next] = [await admin.createClient(CODE_FLOW), await admin.createClient(CODE_FLOW)];
    const agent = createUserAgent(lanyard.issuer);
    const { accessToken } = await obtainTokens(server, app, {}, { agent });
    const pkce = { code_challenge: pkcePair().challenge, code_challenge_method: 'S256' };
    const page = await agent.visit(authorizationUrl(lanyard.issuer, { client_id: next.clientId, ...pkce }));

    const held = await holdInserts(await connectionStringOf(home), model);
    const lost = agent.submit(formAction(page.html, 'consent'), {}).catch(() => 'lost');
    await until(() => withDatabase(home, async (sql) => (await countBlocked(sql)) === 1));
    lanyard.kill('SIGKILL');
    expect(await lost).toBe('lost');
    await lanyard.exited;
    await held.release();

    const again = await start({ home, port });
    expect(await isActive(server, app, accessToken)).toBe(true);
    const url = authorizationUrl(lanyard.issuer, { client_id: app.clientId, prompt: 'none', ...pkce });
    expect((await agent.visit(url)).leavesTo?.searchParams.has('code')).toBe(true);
    expect(await stop(again)).toBe(0);
  },
);
