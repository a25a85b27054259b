// What a new installation needs for the admin API: a resource server, and the client
// `lanyard-admin` that may call it. Run at every start; what exists is not changed.

import { recordAudit } from '../audit/audit.ts';
import { withDefaults } from '../clients/client.ts';
import { generateSecret, hashGeneratedSecret } from '../clients/secret.ts';
import { findClient, insertClient, insertSecret } from '../clients/store.ts';
import type { Database, Query } from '../database/database.ts';
import type { PasswordHasher } from '../password-hash.ts';
import { setGrant } from '../resource-servers/grant-store.ts';
import { listAlike, moveGrants } from '../resource-servers/replacement.ts';
import {
  RESOURCE_SERVER_DEFAULTS,
  type ResourceServer,
  type ResourceServerInput,
} from '../resource-servers/resource-server.ts';
import { findResourceServer, insertResourceServer, removeResourceServer } from '../resource-servers/store.ts';
import { ADMIN_SCOPES, adminAudience } from './admin-guard.ts';

export const ADMIN_CLIENT_ID = 'lanyard-admin';
const BY = { actor: 'system' };

export interface FirstStartDeps {
  readonly database: Database;
  readonly passwords: PasswordHasher;
  readonly issuer: string;
  /** LANYARD_ADMIN_CLIENT_SECRET; undefined: generate one */
  readonly adminClientSecret: string | undefined;
}

/** @returns the secret of the admin client if it was generated now: to be printed once */
export async function prepareFirstStart(deps: FirstStartDeps): Promise<string | undefined> {
  const { database, adminClientSecret } = deps;
  const audience = adminAudience(deps.issuer);
  if (await isPrepared(database, audience)) return undefined;
  const secret = adminClientSecret ?? generateSecret();
  const isGenerated = adminClientSecret === undefined;
  const hash = isGenerated ? hashGeneratedSecret(secret) : await deps.passwords.hash(secret);

  return database.transaction(async (query) => {
    const former = await formerAdminApis(query, audience);
    // Two servers may start at once on an empty database: the one that inserts the client makes the
    // rest. A client that an operator has removed is not made again.
    const isFirst = former.length === 0 && (await findResourceServer(query, audience)) === undefined;
    const client = isFirst ? await insertClient(query, ADMIN_CLIENT_ID, withDefaults(ADMIN_CLIENT, false)) : undefined;
    if (client !== undefined) {
      await insertSecret(query, ADMIN_CLIENT_ID, 'first', hash);
      await recordAudit(query, { ...BY, type: 'client.created', clientId: ADMIN_CLIENT_ID });
    }
    await addAdminApi(query, audience, former);
    return client !== undefined && isGenerated ? secret : undefined;
  });
}

const ADMIN_CLIENT = { client_name: 'Lanyard administration', grant_types: ['client_credentials'] };

const ADMIN_API: ResourceServerInput = {
  ...RESOURCE_SERVER_DEFAULTS,
  name: 'Lanyard admin API',
  scopes: ADMIN_SCOPES,
};

/** Its identifier begins with the issuer. That of another issuer, or another port, is of no use any more. */
async function addAdminApi(query: Query, audience: string, former: readonly ResourceServer[]): Promise<void> {
  const created = await insertResourceServer(query, audience, former[0] ?? ADMIN_API);
  if (created !== undefined && former.length === 0 && (await findClient(query, ADMIN_CLIENT_ID)) !== undefined) {
    // A removed policy row is not added again.
    const grant = { scopes: ADMIN_SCOPES, mayExchange: false, mayActClientId: undefined };
    await setGrant(query, audience, ADMIN_CLIENT_ID, grant);
    const detail = { resource_server: audience };
    await recordAudit(query, { ...BY, type: 'client_grant.set', clientId: ADMIN_CLIENT_ID, detail });
  }
  for (const { identifier } of former) {
    // Clients that may call it keep that, unless it has been changed for the present one.
    if (created !== undefined) await moveGrants(query, identifier, audience);
    await removeResourceServer(query, identifier);
    const detail = { resource_server: identifier, replaced_by: audience };
    await recordAudit(query, { ...BY, type: 'resource_server.removed', detail });
  }
}

async function formerAdminApis(query: Query, audience: string): Promise<ResourceServer[]> {
  const alike = await listAlike(query, { ...ADMIN_API, suffix: adminAudience('') });
  return alike.filter(({ identifier }) => identifier !== audience);
}

/** Once for every issuer. */
async function isPrepared({ query }: Database, audience: string): Promise<boolean> {
  if ((await findResourceServer(query, audience)) === undefined) return false;
  return (await formerAdminApis(query, audience)).length === 0;
}
