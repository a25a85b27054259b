// Nothing usable at rest, nothing secret in the log: a server is led through everything it does, every value that could open
// something is collected, and then the whole database and every log line are searched for it. A thief of a backup or a reader of
// the logs would otherwise have valid tokens.

import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { exportJWK, SignJWT } from 'jose';
import { createDatabase } from '../../src/database/database.ts';
import { cookieKeysAt } from '../../src/keys/follow-keys.ts';
import { loadSigningKeys } from '../../src/keys/key-ring.ts';
import { deriveKeys } from '../../src/keys/seal.ts';
import { createLog } from '../../src/log.ts';
import { introspect, postForm, requestToken, revoke } from '../support/admin.ts';
import { exchange, obtainCode, refresh } from '../support/oauth.ts';
import { ADMIN_SECRET, SECRET_KEY, startTestServer, type TestServer } from '../support/server.ts';
import { createUserAgent, formAction, pkcePair } from '../support/user-agent.ts';

const JWT_API = 'https://jwt.example';
const OPAQUE_API = 'https://opaque.example';
const USER = { username: 'leak-user', password: 'the password of the user' };

let server: TestServer;
/** what must be nowhere, by what it is */
const secrets = new Map<string, string>();
let stored: string;

function note(what: string, value: unknown): void {
  if (typeof value !== 'string' || value.length < 12) throw new Error(`${what} is not a value to look for: ${value}`);
  secrets.set(`${what} ${secrets.size}`, value);
}

beforeAll(async () => {
  server = await startTestServer();
  await useEverything();
  stored = await dumpDatabase();
});
afterAll(() => server.stop());

async function useEverything(): Promise<void> {
  const { admin, issuer } = server;
  note('admin secret', ADMIN_SECRET);
  note('admin token', await admin.token());
  await admin.createApi(JWT_API, { scopes: ['read'] });
  await admin.createApi(OPAQUE_API, { scopes: ['read'], access_token_format: 'opaque' });
  await admin.createUser(USER.username, USER.password);
  note('password', USER.password);
  const app = await admin.createClient({
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    redirect_uris: ['https://app.example/callback'],
  });
  note('generated secret', app.clientSecret);
  for (const api of [JWT_API, OPAQUE_API]) await admin.allow(app.clientId, api, ['read']);

  const imported = await admin.createClient();
  note('rotated secret', imported.clientSecret);
  await admin.request('POST', `/clients/${imported.clientId}/secrets`, { secret: 'an imported secret of a person' });
  note('imported secret', 'an imported secret of a person');
  await requestToken(issuer, { ...imported, clientSecret: 'an imported secret of a person' });
  await requestToken(issuer, { ...imported, clientSecret: 'a wrong secret that was tried' });
  note('wrong secret', 'a wrong secret that was tried');

  for (const api of [JWT_API, OPAQUE_API]) {
    note('client token', (await requestToken(issuer, app, { resource: api })).body.access_token);
    const agent = createUserAgent(issuer);
    const scope = 'openid email offline_access read';
    const issued = await obtainCode(server, app, { scope, resource: api, prompt: 'consent' }, { agent, user: USER });
    note('code', issued.code);
    note('code verifier', issued.verifier);
    const { body } = await exchange(server, app, issued);
    const refreshed = await refresh(server, app, body.refresh_token as string);
    for (const [what, value] of Object.entries({ ...body, again: refreshed.body.access_token })) {
      if (/token$|again/.test(what) && what !== 'token_type') note(what, value);
    }
    note('refreshed id token', refreshed.body.id_token);
    await introspect(issuer, app, body.access_token as string);
    await introspect(issuer, app, body.refresh_token as string);
    for (const cookie of agent.cookies) if (!cookie.name.endsWith('.sig')) note(`cookie ${cookie.name}`, cookie.value);
    await fetch(`${issuer}/oauth2/userinfo`, { headers: { authorization: `Bearer ${body.access_token}` } });
    await revoke(issuer, app, (await requestToken(issuer, app, { resource: api })).body.access_token as string);
    await agent.visit(`/oauth2/logout?${new URLSearchParams({ id_token_hint: body.id_token as string })}`);
  }

  // A login left open, and a password typed into the wrong field.
  const agent = createUserAgent(issuer);
  const { verifier, challenge } = pkcePair();
  note('unused verifier', verifier);
  const page = await agent.visit(
    `/oauth2/authorize?${new URLSearchParams({
      client_id: app.clientId,
      response_type: 'code',
      redirect_uri: 'https://app.example/callback',
      scope: 'openid',
      code_challenge: challenge,
      code_challenge_method: 'S256',
    })}`,
  );
  await agent.submit(formAction(page.html, 'login'), {
    username: 'typed into the wrong field',
    password: 'a wrong guess',
  });
  note('typed', 'typed into the wrong field');
  note('guess', 'a wrong guess');
  for (const cookie of agent.cookies) if (!cookie.name.endsWith('.sig')) note(`open ${cookie.name}`, cookie.value);

  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = await admin.createClient({
    grant_types: ['client_credentials'],
    token_endpoint_auth_method: 'private_key_jwt',
    jwks: { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'k' }] },
  });
  await admin.allow(signer.clientId, JWT_API, ['read']);
  const assertion = await new SignJWT({ jti: 'the jti of an assertion' })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .setIssuer(signer.clientId)
    .setSubject(signer.clientId)
    .setAudience(issuer)
    .setIssuedAt()
    .setExpirationTime('1m')
    .sign(pair.privateKey);
  note('assertion', assertion);
  const form = {
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: assertion,
  };
  note('signer token', (await postForm(`${issuer}/oauth2/token`, undefined, form)).body.access_token);

  const database = createDatabase({
    connectionString: server.connectionString,
    poolSize: 2,
    queueSize: 100,
    log: createLog('silent'),
  });
  const keys = deriveKeys(SECRET_KEY);
  for (const key of await loadSigningKeys(database, keys.sealingKeys)) note(`private ${key.alg}`, key.privateJwk.d);
  await database.close();
  const cookies = { rotationDays: 90, sessionSeconds: 14 * 86_400 };
  for (const key of cookieKeysAt(keys, cookies, Date.now() / 1000)) note('cookie key', key);
  note('secret key', SECRET_KEY);
}

/** Every row of every table as text, and every bytea as what it may spell. */
async function dumpDatabase(): Promise<string> {
  const { rows: tables } = await server.sql.query(
    "SELECT quote_ident(tablename) AS name FROM pg_tables WHERE schemaname = 'public'",
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await server.sql.query(`SELECT t.*, t::text AS whole_row FROM ${name} t`);
    for (const row of rows) {
      parts.push(row.whole_row, JSON.stringify(row));
      for (const value of Object.values(row)) {
        if (Buffer.isBuffer(value)) parts.push(value.toString('base64url'), value.toString('latin1'));
      }
    }
  }
  return parts.join('\n');
}

/** The forms in which a value may hide. */
function spellings(value: string): string[] {
  const bytes = Buffer.from(value);
  return [
    value,
    encodeURIComponent(value),
    bytes.toString('hex'),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ];
}

function findIn(text: string): string[] {
  return [...secrets].filter(([, value]) => spellings(value).some((form) => text.includes(form))).map(([what]) => what);
}

test('the search finds what is there', () => {
  expect(secrets.size).toBeGreaterThan(35);
  expect(stored).toContain(USER.username);
  expect(findIn(`x${Buffer.from(USER.password).toString('hex')}x`)).toHaveLength(1);
});

test('the database holds no token, code, cookie, secret, password or private key', () => {
  expect(findIn(stored)).toEqual([]);
});

test('the log holds none either', () => {
  expect(server.logLines.length).toBeGreaterThan(20);
  expect(findIn(server.logLines.join('\n'))).toEqual([]);
});
