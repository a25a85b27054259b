// `npm run seed`: something to develop against, put into a running Lanyard through its admin API: two apps, two APIs, the policy
// between them and one user. What is there already stays as it is, so it may be run again.
//
// It reads the same configuration as the server; LANYARD_ADMIN_CLIENT_SECRET must be the secret of lanyard-admin.

import { existsSync } from 'node:fs';
import { loadConfig } from '../src/config/config.ts';
import { type Admin, createAdmin, type Json } from '../src/demo/requests.ts';

const CLIENTS: readonly Json[] = [
  {
    client_id: 'shop',
    client_name: 'Shop',
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
    redirect_uris: ['http://localhost:8080/callback'],
  },
  { client_id: 'reports', client_name: 'Nightly reports', grant_types: ['client_credentials'] },
  { client_id: 'billing-api', client_name: 'Billing API, for introspection', grant_types: [] },
];

const RESOURCE_SERVERS: readonly Json[] = [
  { identifier: 'https://orders.example', name: 'Orders', scopes: ['orders:read', 'orders:write'] },
  {
    identifier: 'https://billing.example',
    name: 'Billing',
    scopes: ['billing:read'],
    access_token_format: 'opaque',
    introspection_client_id: 'billing-api',
  },
];

const POLICY = [
  { client: 'shop', api: 'https://orders.example', scopes: ['orders:read', 'orders:write'] },
  { client: 'reports', api: 'https://orders.example', scopes: ['orders:read'] },
  { client: 'reports', api: 'https://billing.example', scopes: ['billing:read'] },
] as const;

/** For a development machine only: everybody can read this file. */
const USER = { username: 'alice', password: 'correct horse battery', email: 'alice@example.com' };

async function main(): Promise<void> {
  if (existsSync('.env')) process.loadEnvFile('.env');
  const { issuer, adminClientSecret } = loadConfig(process.env);
  if (adminClientSecret === undefined) {
    throw new Error('set LANYARD_ADMIN_CLIENT_SECRET to the secret that the first start of the server has printed');
  }
  const admin = await createAdmin(issuer, { clientId: 'lanyard-admin', clientSecret: adminClientSecret });

  for (const client of CLIENTS) {
    const created = await create(admin, '/clients', client);
    const secret = created?.client_secret;
    say(`client ${client.client_id}`, secret === undefined ? 'was there already' : `client_secret ${secret}`);
  }
  for (const resourceServer of RESOURCE_SERVERS) {
    const created = await create(admin, '/resource-servers', resourceServer);
    say(`API ${resourceServer.identifier}`, created === undefined ? 'was there already' : 'created');
  }
  for (const { client, api, scopes } of POLICY) {
    const path = `/resource-servers/${encodeURIComponent(api)}/clients/${client}`;
    const { observed } = await admin.request('GET', path);
    if (observed !== '200') expectCreated(await admin.request('PUT', path, { scopes }), path);
    say(`${client} may call ${api}`, scopes.join(' '));
  }
  const user = await create(admin, '/users', USER);
  say(`user ${USER.username}`, user === undefined ? 'was there already' : `password ${USER.password}`);
}

/** @returns undefined if it was there already */
async function create(admin: Admin, path: string, body: Json): Promise<Json | undefined> {
  const answer = await admin.request('POST', path, body);
  if (answer.observed === '409 already_exists') return undefined;
  expectCreated(answer, path);
  return answer.value;
}

function expectCreated({ observed, value }: { observed: string; value: Json }, path: string): void {
  if (observed !== '201') throw new Error(`${path} answered ${observed}: ${value.detail}`);
}

function say(what: string, outcome: string): void {
  process.stdout.write(`${what.padEnd(44)} ${outcome}\n`);
}

main().catch((error: Error) => {
  process.stderr.write(`${error.message}${error.cause instanceof Error ? `: ${error.cause.message}` : ''}\n`);
  process.exitCode = 1;
});
