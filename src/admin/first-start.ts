// What a new installation needs for the admin API: a resource server, and the client
// `lanyard-admin` that may call it. Run at every start; what exists is not changed.

import { recordAudit } from '../audit/audit.ts';
import { withDefaults } from '../clients/client.ts';
import { generateSecret, hashGeneratedSecret } from '../clients/secret.ts';
import { findClient, insertClient, insertSecret } from '../clients/store.ts';
import type { Database } from '../database/database.ts';
import type { PasswordHasher } from '../password-hash.ts';
import { findResourceServer, insertResourceServer, setGrant } from '../resource-servers/store.ts';
import { ADMIN_SCOPES, adminAudience } from './admin-guard.ts';

export const ADMIN_CLIENT_ID = 'lanyard-admin';

export interface FirstStartDeps {
  readonly database: Database;
  readonly passwords: PasswordHasher;
  readonly issuer: string;
  /** LANYARD_ADMIN_CLIENT_SECRET; undefined: generate one */
  readonly adminClientSecret: string | undefined;
}

/** @returns the secret of the admin client if it was generated now: to be printed once */
export async function prepareFirstStart(deps: FirstStartDeps): Promise<string | undefined> {
  const { database, issuer, adminClientSecret } = deps;
  if (await isPrepared(database, issuer)) return undefined;
  const secret = adminClientSecret ?? generateSecret();
  const isGenerated = adminClientSecret === undefined;
  const hash = isGenerated ? hashGeneratedSecret(secret) : await deps.passwords.hash(secret);

  return database.transaction(async (query) => {
    const by = { actor: 'system', clientId: ADMIN_CLIENT_ID };
    // Two servers may start at once on an empty database: the one that inserts the client makes the
    // rest.
    const client = await insertClient(
      query,
      ADMIN_CLIENT_ID,
      withDefaults({ client_name: 'Lanyard administration', grant_types: ['client_credentials'] }),
    );
    if (client !== undefined) {
      await insertSecret(query, ADMIN_CLIENT_ID, 'first', hash);
      await recordAudit(query, { ...by, type: 'client.created' });
    }
    const audience = adminAudience(issuer);
    const created = await insertResourceServer(query, audience, {
      name: 'Lanyard admin API',
      scopes: ADMIN_SCOPES,
      accessTokenFormat: 'jwt',
      accessTokenTtlSeconds: undefined,
      introspectionClientId: undefined,
      authorizationDetailsTypes: {},
      delegation: undefined,
      selfRegisteredScopes: undefined,
    });
    // A removed policy row is not added again; a new issuer has a new audience, which needs a row.
    if (created !== undefined && (await findClient(query, ADMIN_CLIENT_ID)) !== undefined) {
      await setGrant(query, audience, ADMIN_CLIENT_ID, {
        scopes: ADMIN_SCOPES,
        mayExchange: false,
        mayActClientId: undefined,
      });
      await recordAudit(query, { ...by, type: 'client_grant.set', detail: { resource_server: audience } });
    }
    return client !== undefined && isGenerated ? secret : undefined;
  });
}

/** Once for every issuer: a client that an operator has removed is not made again. */
async function isPrepared(database: Database, issuer: string): Promise<boolean> {
  return (await findResourceServer(database.query, adminAudience(issuer))) !== undefined;
}
