// `npm run seed`: fills a running Lanyard, through its admin API, with what README.md and docs/ talk about: two apps, two
// APIs, the policy rows between them and one user. What exists already stays as it is, so it may run again at any time.
//
// It reads the same configuration as the server; LANYARD_ADMIN_CLIENT_SECRET must be the secret of lanyard-admin.
// stdout has shell assignments only (`SHOP_SECRET='...'`), for `eval "$(npm run -s seed)"`. Texts go to stderr.

import { existsSync } from 'node:fs';
import { loadConfig } from '../src/config/config.ts';
import { type Admin, createAdmin, type Json } from '../src/demo/requests.ts';

const CLIENTS: readonly (Json & { client_id: string })[] = [
  {
    client_id: 'shop',
    client_name: 'Shop',
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    redirect_uris: ['http://localhost:8080/callback'],
  },
  { client_id: 'reports', client_name: 'Nightly reports', grant_types: ['client_credentials'] },
  { client_id: 'orders-api', client_name: 'Orders API, for introspection', grant_types: [] },
  { client_id: 'billing-api', client_name: 'Billing API, for introspection', grant_types: [] },
];

const RESOURCE_SERVERS: readonly (Json & { identifier: string })[] = [
  {
    identifier: 'https://orders.example',
    name: 'Orders',
    scopes: ['orders:read'],
    introspection_client_id: 'orders-api',
  },
  {
    identifier: 'https://billing.example',
    name: 'Billing',
    scopes: ['billing:read'],
    access_token_format: 'opaque',
    introspection_client_id: 'billing-api',
  },
];

const POLICY = [
  { client: 'shop', api: 'https://orders.example', scopes: ['orders:read'] },
  { client: 'reports', api: 'https://orders.example', scopes: ['orders:read'] },
  { client: 'reports', api: 'https://billing.example', scopes: ['billing:read'] },
] as const;

/** For a development machine only: the password is public. */
const USER = { username: 'alice', password: 'correct horse battery', email: 'alice@example.com' };

const EXISTS = 'exists';

async function main(): Promise<void> {
  if (existsSync('.env')) process.loadEnvFile('.env');
  const { issuer, adminClientSecret } = loadConfig(process.env);
  if (adminClientSecret === undefined) {
    throw new Error('set LANYARD_ADMIN_CLIENT_SECRET to the client_secret that the first start of the server printed');
  }
  const admin = await createAdmin(issuer, { clientId: 'lanyard-admin', clientSecret: adminClientSecret });

  for (const client of CLIENTS) await createClient(admin, client);
  for (const resourceServer of RESOURCE_SERVERS) {
    const created = await create(admin, '/resource-servers', resourceServer);
    say(`API ${resourceServer.identifier}`, created === undefined ? EXISTS : 'created');
  }
  for (const { client, api, scopes } of POLICY) await allow(admin, client, api, scopes);
  const user = await create(admin, '/users', USER);
  say(`user ${USER.username}`, user === undefined ? EXISTS : `created, password: ${USER.password}`);
}

async function createClient(admin: Admin, metadata: Json & { client_id: string }): Promise<void> {
  const { client_id: clientId } = metadata;
  const created = await create(admin, '/clients', metadata);
  say(`client ${clientId}`, created === undefined ? `${EXISTS}; its secret was shown when it was created` : 'created');
  if (created === undefined) return;
  const variable = `${clientId.toUpperCase().replaceAll('-', '_')}_SECRET`;
  process.stdout.write(`${variable}='${created.client_secret}'\n`);
}

/** Only scopes that the API has: one that existed before may have others than ours. */
async function allow(admin: Admin, client: string, api: string, wanted: readonly string[]): Promise<void> {
  const apiPath = `/resource-servers/${encodeURIComponent(api)}`;
  const path = `${apiPath}/clients/${client}`;
  const title = `policy: ${client} may call ${api}`;
  if ((await admin.request('GET', path)).observed === '200') return say(title, EXISTS);
  const { value } = await admin.request('GET', apiPath);
  const scopes = wanted.filter((scope) => (value.scopes as readonly string[]).includes(scope));
  if (scopes.length === 0) return say(title, `left out: the API does not have the scope ${wanted.join(' ')}`);
  assertCreated(await admin.request('PUT', path, { scopes }), path);
  say(title, scopes.join(' '));
}

/** @returns undefined if it exists already */
async function create(admin: Admin, path: string, body: Json): Promise<Json | undefined> {
  const answer = await admin.request('POST', path, body);
  if (answer.observed === '409 already_exists') return undefined;
  assertCreated(answer, path);
  return answer.value;
}

function assertCreated({ observed, value }: { observed: string; value: Json }, path: string): void {
  if (observed !== '201') throw new Error(`${path} answered ${observed}: ${value.detail}`);
}

function say(what: string, outcome: string): void {
  process.stderr.write(`${what.padEnd(48)} ${outcome}\n`);
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ''}\n`);
  process.exitCode = 1;
});
