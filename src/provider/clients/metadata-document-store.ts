// The last content of the metadata document of a client (metadata-documents) is stored in its row,
// like the metadata of registered clients: such a client can be disabled, consented to and counted,
// operators can read it, and a request that issues nothing need not wait for its host.

import { isDeepStrictEqual } from 'node:util';
import type { Client } from 'oidc-provider';
import { recordAudit } from '../../audit/audit.ts';
import { type ClientMetadata, clientMetadataSchema, METADATA_DOCUMENT } from '../../clients/client.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import { insertClient, updateClient } from '../../clients/store.ts';
import type { Database } from '../../database/database.ts';
import { currentContext } from '../engine-internals.ts';

const MAX_REMEMBERED = 10_000;

/**
 * The routes that begin or issue something, which a changed or withdrawn document must be able to
 * prevent.
 */
const ROUTES_THAT_ASK: ReadonlySet<string> = new Set([
  'authorization',
  'token',
  'pushed_authorization_request',
  'device_authorization',
]);

/** Whether this request depends on the current content of the document. */
export function asksForDocuments(): boolean {
  return ROUTES_THAT_ASK.has(currentContext()?.oidc?.route ?? '');
}

/**
 * @returns a function that stores the client when it is new, or differs from what this process has
 * seen before
 */
export function createDocumentNotes(
  database: Pick<Database, 'transaction' | 'changes'>,
): (client: Client, known: CachedClient | undefined) => Promise<void> {
  // Two nodes may cache two revisions of a document. Each stores one that is new to itself once, so
  // they do not overwrite each other in turns.
  const seen = new Map<string, string>();

  return async (client, known) => {
    const { clientId } = client;
    const metadata = describe(client);
    const revision = JSON.stringify(metadata);
    if (known !== undefined && seen.get(clientId) === revision) return;
    if (known === undefined || !isDeepStrictEqual(known.metadata, JSON.parse(revision))) {
      await database.transaction(async (query) => {
        const actor = `client:${clientId}`;
        if (known !== undefined) {
          await updateClient(query, clientId, metadata);
          const detail = { client_name: metadata.client_name, redirect_uris: metadata.redirect_uris };
          return recordAudit(query, { type: 'client.changed', actor, clientId, detail });
        }
        if ((await insertClient(query, clientId, metadata, { registeredBy: METADATA_DOCUMENT })) === undefined) return;
        const detail = { client_name: metadata.client_name, registered_by: METADATA_DOCUMENT };
        await recordAudit(query, { type: 'client.created', actor, clientId, detail });
      });
      await database.changes.current();
    }
    if (seen.size > MAX_REMEMBERED) seen.clear();
    seen.set(clientId, revision);
  };
}

/** The document as the engine has understood it, with the member names of RFC 7591. */
function describe(client: Client): ClientMetadata {
  const members: Record<string, unknown> = { ...client.metadata() };
  const known = Object.keys(clientMetadataSchema.shape).filter((name) => members[name] !== undefined);
  return clientMetadataSchema.parse(Object.fromEntries(known.map((name) => [name, members[name]]))) as ClientMetadata;
}
