// The engine's adapter for clients: enabled ones only, as the directory knows them, so that a disable counts at once.
// The engine's schema demands a secret in the clear for clients that authenticate with one; it gets a stand-in that nobody can
// present, and the comparison is replaced by ours (the hook that the engine's maintainer offers for hashed secrets).

import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import Provider, { type Adapter, type Client } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import { authenticatesWithSecret, isOfDocument } from '../../clients/client.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import type { SecretVerifier } from '../../clients/secret.ts';
import { touchSecrets } from '../../clients/store.ts';
import { createBatcher } from '../../database/batcher.ts';
import type { Database } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import { refusingOverload } from '../http/overload.ts';
import type { Directory } from '../policy/directory.ts';
import { forEngine } from './engine-metadata.ts';
import { asksForDocuments, createDocumentNotes } from './metadata-document-store.ts';

/** `last_used_at` is for people: it need not be written at every request. */
const LAST_USED_RESOLUTION_MS = 60_000;
/** as many clients as the directory remembers */
const MAX_REMEMBERED = 20_000;

interface Verification {
  readonly clientId: string;
  readonly presented: string;
  readonly isRight: Promise<boolean>;
}

export interface ClientAdapterDeps {
  readonly database: Pick<Database, 'query' | 'transaction' | 'changes' | 'queueSize'>;
  readonly directory: Directory;
  readonly secretVerifier: SecretVerifier;
  readonly log: Log;
}

export interface ClientAdapter extends Adapter {
  /** Replaces the engine's comparison of secrets, and its memory of the last hundred clients by that of the directory. */
  install(provider: Provider): void;
  /** The same question in one request is answered once. */
  isSecretOf(request: IncomingMessage | undefined, clientId: string, presented: string): Promise<boolean>;
}

export function createClientAdapter(deps: ClientAdapterDeps): ClientAdapter {
  const { database, directory, secretVerifier, log } = deps;
  const { query } = database;
  const standIn = `stand-in.${randomBytes(32).toString('base64url')}`;
  const lastTouched = new Map<string, number>();
  const touch = createBatcher<string, undefined>({
    maxRunning: 1,
    maxWaiting: database.queueSize,
    async run(secretIds) {
      await touchSecrets(query, secretIds);
      return secretIds.map(() => undefined);
    },
  });
  const noteDocument = createDocumentNotes(database);

  /** By request: the short path asks first, the engine again when it is left to refuse. A wrong secret costs one argon2. */
  const judged = new WeakMap<IncomingMessage, Verification>();

  function isSecretOf(request: IncomingMessage | undefined, clientId: string, presented: string): Promise<boolean> {
    const known = request && judged.get(request);
    if (known?.presented === presented && isSameClient(known.clientId, clientId)) return known.isRight;
    const isRight = checkSecret(clientId, presented);
    if (request !== undefined) judged.set(request, { clientId, presented, isRight });
    return isRight;
  }

  async function checkSecret(clientId: string, presented: string): Promise<boolean> {
    const client = await directory.findClient(clientId);
    if (client === undefined || client.isDisabled) return false;
    const secret = await refusingOverload(secretVerifier.match(clientId, client.secrets, presented));
    if (secret === undefined) return false;
    noteUse(secret.id);
    return true;
  }

  function noteUse(secretId: string): void {
    const now = Date.now();
    if (now - (lastTouched.get(secretId) ?? 0) < LAST_USED_RESOLUTION_MS) return;
    if (lastTouched.size > MAX_REMEMBERED) lastTouched.clear();
    lastTouched.set(secretId, now);
    touch(secretId).catch((error) => log.warn({ error }, 'last_used_at was not written'));
  }

  /** The engine would serialise and hash the metadata at every lookup to find the instance that it made of them. */
  function rememberInstances({ Client }: Provider): void {
    const instances = new WeakMap<CachedClient, Client>();
    const find = Client.find;
    Client.find = async (clientId) => {
      // The engine asks for the audience of whatever somebody presents as an ID token.
      if (typeof clientId !== 'string') return undefined;
      const known = await directory.findClient(clientId);
      if (known?.isDisabled) return undefined;
      if (asksForDocuments() && (known === undefined || isOfDocument(known))) {
        return findByDocument(clientId, known, find.bind(Client));
      }
      if (known === undefined) return undefined;
      const client = instances.get(known) ?? (await find.call(Client, clientId));
      if (client === undefined || instances.has(known)) return client;
      Object.assign(client, {
        authorizationDetailsTypes: known.metadata.authorization_details_types ?? [],
        // The engine forgets it when certificates are switched off, and would issue bearer tokens from then on.
        tlsClientCertificateBoundAccessTokens: known.metadata.tls_client_certificate_bound_access_tokens === true,
      });
      instances.set(known, client);
      return client;
    };
  }

  /**
   * A client whose id is the address of its own description (draft-ietf-oauth-client-id-metadata-document). The engine fetches
   * that, and remembers it for a while.
   */
  async function findByDocument(
    clientId: string,
    known: CachedClient | undefined,
    find: (clientId: string) => Promise<Client | undefined>,
  ): Promise<Client | undefined> {
    if (!clientId.startsWith('https://')) return undefined;
    const client = await find(clientId);
    if (client !== undefined) await noteDocument(client, known);
    return client;
  }

  function refuse(): never {
    throw new Error('clients are registered through the admin API, not through the engine');
  }

  return {
    async find(clientId) {
      const client = await directory.findClient(clientId);
      if (client === undefined || client.isDisabled || (isOfDocument(client) && asksForDocuments())) return undefined;
      const secret = authenticatesWithSecret(client.metadata) ? { client_secret: standIn } : {};
      return { ...forEngine(client.metadata), client_id: clientId, ...secret };
    },
    isSecretOf,
    install(provider) {
      rememberInstances(provider);
      provider.Client.prototype.compareClientSecret = function (this: { clientId: string }, presented: string) {
        return isSecretOf(Provider.ctx?.req, this.clientId, presented);
      };
    },
    upsert: async () => refuse(),
    destroy: async () => refuse(),
    consume: async () => refuse(),
    revokeByGrantId: async () => refuse(),
    findByUid: async () => undefined,
    findByUserCode: async () => undefined,
  };
}
