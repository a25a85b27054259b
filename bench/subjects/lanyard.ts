// Starts Lanyard like an operator, with the command of `npm start` and its own data folder, and
// creates the fixtures through the admin API.

import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Fixtures, JWT_API, METADATA, OPAQUE_API, PASSWORD, SCOPE, username } from '../fixtures.ts';
import { expectJson, inParallel, postForm, send } from '../load/http.ts';
import { type Child, findFreePort, startChild } from './child.ts';
import { watchProcesses } from './processes.ts';
import { type AdminApi, PATHS, type Subject } from './subject.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const LANYARD_READY = 'Lanyard is running.';
const ADMIN = { clientId: 'lanyard-admin', clientSecret: randomBytes(32).toString('base64url') };

export interface LanyardOptions {
  /** an empty folder; the caller removes it */
  readonly folder: string;
  /** an empty database that replaces the embedded one, and its postmaster if that runs here */
  readonly database: { readonly url: string; readonly postmasterPid: number | undefined } | undefined;
  readonly userCount: number;
}

export async function startLanyard(options: LanyardOptions): Promise<Subject> {
  const { child, url } = await launchLanyard(options.folder, {
    // Codes are prepared before a round and redeemed in it.
    LANYARD_AUTHORIZATION_CODE_TTL_SECONDS: '600',
    // All users sign in from one address.
    LANYARD_LOGIN_FAILURES_PER_ADDRESS: '1000000',
    LANYARD_ANONYMOUS_WRITES_PER_ADDRESS: '1000000',
    LANYARD_ANONYMOUS_WRITES_PER_CLIENT: '1000000',
    ...(options.database === undefined ? {} : { DATABASE_URL: options.database.url }),
  });
  const admin = createAdminApi(url);
  return {
    name: 'lanyard',
    url,
    paths: PATHS,
    fixtures: await prepareFixtures(admin, options.userCount),
    processes: watchProcesses(child.pid, options.database?.postmasterPid),
    admin,
  };
}

export async function launchLanyard(
  folder: string,
  env: Readonly<Record<string, string>>,
  port?: number,
): Promise<{ child: Child; url: string }> {
  const ownPort = port ?? (await findFreePort());
  const url = `http://127.0.0.1:${ownPort}`;
  const { nodeOptions, script } = await readStartCommand();
  const child = await startChild({
    nodeOptions,
    script,
    cwd: folder,
    env: {
      LANYARD_PORT: String(ownPort),
      LANYARD_ISSUER: url,
      LANYARD_DATA_DIR: `${folder}/data`,
      LANYARD_SECRET_KEY: 'a secret key for the bench, long enough to be one',
      LANYARD_ADMIN_CLIENT_SECRET: ADMIN.clientSecret,
      // One process is compared with one process.
      LANYARD_WORKERS: '1',
      ...env,
    },
    ready: LANYARD_READY,
  });
  return { child, url };
}

/** The arguments of `npm start`. */
async function readStartCommand(): Promise<{ nodeOptions: readonly string[]; script: string }> {
  const { scripts } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
  const [, ...args] = (scripts.start as string).replace(/^exec /, '').split(' ');
  return { nodeOptions: args.slice(0, -1), script: join(ROOT, args.at(-1) as string) };
}

export function fetchAdminToken(url: string): Promise<Record<string, unknown>> {
  return expectJson(200, postForm(`${url}/oauth2/token`, ADMIN, { grant_type: 'client_credentials' }));
}

function createAdminApi(url: string): AdminApi {
  let header: { text: string; expiresAt: number } | undefined;
  /** The token must not expire within a round. */
  const minimalRestMs = 300_000;

  async function authorization(): Promise<string> {
    if (header === undefined || header.expiresAt < Date.now() + minimalRestMs) {
      const token = await fetchAdminToken(url);
      header = {
        text: `Bearer ${token.access_token}`,
        expiresAt: Date.now() + Number(token.expires_in) * 1000,
      };
    }
    return header.text;
  }

  return {
    authorization,
    async call(method, path, body) {
      const headers = { authorization: await authorization(), 'content-type': 'application/json' };
      const answer = await send(method, `${url}/admin/v1${path}`, { headers, body: JSON.stringify(body) });
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.body}`);
      return answer.body === '' ? {} : JSON.parse(answer.body);
    },
  };
}

async function prepareFixtures(admin: AdminApi, userCount: number): Promise<Fixtures> {
  const create = async (metadata: object) => {
    const made = await admin.call('POST', '/clients', metadata);
    return { clientId: String(made.client_id), clientSecret: String(made.client_secret ?? '') };
  };
  const [service, api, app, web] = await Promise.all([
    create(METADATA.service),
    create(METADATA.api),
    create(METADATA.app),
    create(METADATA.web),
  ]);
  for (const [identifier, format] of [
    [OPAQUE_API, 'opaque'],
    [JWT_API, 'jwt'],
  ]) {
    await admin.call('POST', '/resource-servers', {
      identifier,
      scopes: [SCOPE],
      access_token_format: format,
      introspection_client_id: api.clientId,
    });
    await allow(admin, String(identifier), service.clientId);
  }
  await inParallel(userCount, 4, (index) =>
    admin.call('POST', '/users', { username: username(index), password: PASSWORD }),
  );
  return { service, api, app, web };
}

/** The policy row. */
export async function allow(admin: AdminApi, identifier: string, clientId: string): Promise<void> {
  await admin.call('PUT', `/resource-servers/${encodeURIComponent(identifier)}/clients/${clientId}`, {
    scopes: [SCOPE],
  });
}
