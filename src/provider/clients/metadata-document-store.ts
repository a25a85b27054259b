// The last content of the metadata document of a client (metadata-documents) is stored in its row,
// like the metadata of registered clients: such a client can be disabled, consented to and counted,
// operators can read it, and a request that issues nothing need not wait for its host.

import { isDeepStrictEqual } from 'node:util';
import type Provider from 'oidc-provider';
import { type Client, errors } from 'oidc-provider';
import { recordAudit } from '../../audit/audit.ts';
import { type ClientMetadata, clientMetadataSchema, isOfDocument, METADATA_DOCUMENT } from '../../clients/client.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import { assertSameSubjects, type ReplaceDeps, replaceMetadata } from '../../clients/replace-metadata.ts';
import { insertClient, lockClient } from '../../clients/store.ts';
import type { Database, Query } from '../../database/database.ts';
import { AppError } from '../../errors.ts';
import type { GuessThrottle } from '../../users/throttle.ts';
import { currentContext } from '../engine-internals.ts';
import { asEngineRefusal } from '../http/unavailable.ts';
import { removeArtifactsOfClient } from '../storage/artifacts.ts';
import { subjectsOf } from './engine-metadata.ts';

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

export interface DocumentNotesDeps {
  readonly database: Pick<Database, 'longTransaction' | 'changes'>;
  /** a new client is a registration that no operator has allowed */
  readonly throttle: GuessThrottle;
}

type NoteDocument = (provider: Provider, client: Client, known: CachedClient | undefined) => Promise<void>;

/**
 * @returns a function that stores the client when it is new, or differs from what this process has
 * seen before. It throws InvalidClientMetadata when the document may not change that much.
 */
export function createDocumentNotes({ database, throttle }: DocumentNotesDeps): NoteDocument {
  // Two nodes may cache two revisions of a document. Each stores one that is new to itself once, so
  // they do not overwrite each other in turns.
  const seen = new Map<string, string>();
  const registering = new Map<string, Promise<void>>();

  /** Once for all that ask at the same time: the first users of an app are one registration. */
  function register(deps: ReplaceDeps, clientId: string, metadata: ClientMetadata): Promise<void> {
    const running = registering.get(clientId);
    if (running !== undefined) return running;
    const address = currentContext()?.ip ?? '';
    const started = assertMayRegister(throttle, address)
      .then(() => database.longTransaction((query) => store(query, deps, clientId, metadata)))
      .then((isNew) => (isNew ? undefined : throttle.giveBack(address)))
      .finally(() => registering.delete(clientId));
    registering.set(clientId, started);
    return started;
  }

  return async (provider, client, known) => {
    const { clientId } = client;
    const metadata = describe(client);
    // A row that was removed and made again has not seen it.
    const revision = JSON.stringify([known?.createdAt, metadata]);
    if (known !== undefined && seen.get(clientId) === revision) return;
    const stored = JSON.parse(JSON.stringify(metadata)) as ClientMetadata;
    if (known === undefined || !isDeepStrictEqual(known.metadata, stored)) {
      const replaceDeps = {
        subjectsOf: (id: string, each: ClientMetadata) => subjectsOf(provider, id, each),
        removeArtifacts: removeArtifactsOfClient,
      };
      try {
        if (known === undefined) await asEngineRefusal(register(replaceDeps, clientId, stored));
        else {
          // Without a lock: a document that is refused is refused at each request.
          assertSameSubjects(replaceDeps, known, stored);
          await database.longTransaction((query) => store(query, replaceDeps, clientId, stored));
        }
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== 'validation_failed') throw error;
        throw new errors.InvalidClientMetadata(error.detail);
      }
      await database.changes.current();
    }
    if (seen.size > MAX_REMEMBERED) seen.clear();
    seen.set(clientId, revision);
  };
}

/** @returns whether the client is new */
async function store(query: Query, deps: ReplaceDeps, clientId: string, metadata: ClientMetadata): Promise<boolean> {
  const by = { actor: `client:${clientId}` };
  if ((await insertClient(query, clientId, metadata, { registeredBy: METADATA_DOCUMENT })) !== undefined) {
    const detail = { client_name: metadata.client_name, registered_by: METADATA_DOCUMENT };
    await recordAudit(query, { type: 'client.created', ...by, clientId, detail });
    return true;
  }
  const before = await lockClient(query, clientId);
  // Registered with this id in the meantime, or stored by another node.
  if (!isOfDocument(before) || isDeepStrictEqual(before.metadata, metadata)) return false;
  const detail = { client_name: metadata.client_name, redirect_uris: metadata.redirect_uris };
  await recordAudit(query, { type: 'client.changed', ...by, clientId, detail });
  await replaceMetadata(deps, query, { before, metadata, author: 'client', by });
  return false;
}

async function assertMayRegister(throttle: GuessThrottle, address: string): Promise<void> {
  const retryAfterSeconds = await throttle.attempt(address);
  if (retryAfterSeconds === undefined) return;
  throw new AppError('too_many_requests', 'too many new clients came from this address', { retryAfterSeconds });
}

/** The document as the engine has understood it, with the member names of RFC 7591. */
function describe(client: Client): ClientMetadata {
  const members: Record<string, unknown> = { ...client.metadata() };
  const known = Object.keys(clientMetadataSchema.shape).filter((name) => members[name] !== undefined);
  return clientMetadataSchema.parse(Object.fromEntries(known.map((name) => [name, members[name]]))) as ClientMetadata;
}
