// Clients as the engine sees them: how they are loaded, how they authenticate (secrets,
// certificates), and what a client that describes itself at an address may be. What is registered
// is in src/clients; which client a token belongs to is decided in client-binding. This file is the
// engine's adapter for clients: enabled ones only, as the directory knows them, so that a disabled
// client is refused at once.
//
// The engine's schema demands a plain secret of clients that authenticate with one. It gets a
// random value instead, and the comparison is replaced by ours.

import { randomBytes } from 'node:crypto';
import type Provider from 'oidc-provider';
import type { Adapter, Client } from 'oidc-provider';
import { authenticatesWithSecret, isOfDocument } from '../../clients/client.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import type { Database } from '../../database/database.ts';
import type { GuessThrottle } from '../../users/throttle.ts';
import { currentContext, overrideMethod } from '../engine-internals.ts';
import type { Directory } from '../policy/directory.ts';
import { certificateThumbprint } from './certificate-thumbprint.ts';
import { type ClientKeysDeps, createClientKeys } from './client-keys.ts';
import { forEngine } from './engine-metadata.ts';
import { asksForDocuments, createDocumentNotes } from './metadata-document-store.ts';
import { type ReadClientCertificate, validCertificate } from './mutual-tls.ts';
import { createSecretCheck, type SecretCheckDeps } from './secret-check.ts';

export interface ClientAdapterDeps extends SecretCheckDeps {
  readonly database: Pick<Database, 'query' | 'longTransaction' | 'changes' | 'queueSize'>;
  readonly registrationThrottle: GuessThrottle;
  readonly readClientCertificate: ReadClientCertificate | undefined;
}

export interface ClientAdapter extends Adapter {
  /**
   * Replaces the engine's comparison of secrets, and its cache of a hundred clients by that of the
   * directory.
   */
  install(provider: Provider): void;
}

export function createClientAdapter(deps: ClientAdapterDeps): ClientAdapter {
  const { database, directory, readClientCertificate, log } = deps;
  const unusableSecret = `unusable.${randomBytes(32).toString('base64url')}`;
  const isSecretOf = createSecretCheck(deps);
  const noteDocument = createDocumentNotes({ database, throttle: deps.registrationThrottle });

  function presentedThumbprint(): string | undefined {
    const request = currentContext()?.req;
    const certificate = request && validCertificate(readClientCertificate, request);
    return certificate && certificateThumbprint(certificate);
  }

  function refuse(): never {
    throw new Error('clients are registered through the admin API, not through the engine');
  }

  return {
    async find(clientId) {
      const client = await directory.findClient(clientId);
      if (client === undefined || client.isDisabled || (isOfDocument(client) && asksForDocuments())) return undefined;
      const secret = authenticatesWithSecret(client.metadata) ? { client_secret: unusableSecret } : {};
      return { ...forEngine(client.metadata), client_id: clientId, ...secret };
    },
    install(provider) {
      replaceFind(provider, directory, { log, presentedThumbprint, noteDocument });
      overrideMethod(provider, 'Client.prototype.compareClientSecret', () => {
        return function (presented) {
          return isSecretOf(this.clientId, presented);
        };
      });
    },
    upsert: async () => refuse(),
    destroy: async () => refuse(),
    consume: async () => refuse(),
    revokeByGrantId: async () => refuse(),
    findByUid: async () => undefined,
    findByUserCode: async () => undefined,
  };
}

/**
 * The engine would serialise and hash the metadata at every lookup, to find the instance that it
 * has made of them.
 */
function replaceFind(
  provider: Provider,
  directory: Directory,
  deps: ClientKeysDeps & { readonly noteDocument: ReturnType<typeof createDocumentNotes> },
): void {
  const instances = new WeakMap<CachedClient, Client>();
  const shareKeys = createClientKeys(deps);
  overrideMethod(provider, 'Client.find', (original) => {
    async function load(clientId: string): Promise<Client | undefined> {
      const client = await original.call(provider.Client, clientId);
      if (client !== undefined) shareKeys(client);
      return client;
    }

    /**
     * A client whose id is the address of its metadata document: the engine fetches that, and keeps
     * it for a while.
     */
    async function findByDocument(clientId: string, known: CachedClient | undefined): Promise<Client | undefined> {
      if (!clientId.startsWith('https://')) return undefined;
      const client = await load(clientId);
      if (client !== undefined) await deps.noteDocument(provider, client, known);
      return client;
    }

    async function makeInstance(clientId: string, known: CachedClient): Promise<Client | undefined> {
      const client = await load(clientId);
      if (client !== undefined) instances.set(known, client);
      return client;
    }

    function find(clientId: string, known: CachedClient | undefined): Client | undefined | Promise<Client | undefined> {
      if (known?.isDisabled) return undefined;
      if (asksForDocuments() && (known === undefined || isOfDocument(known))) return findByDocument(clientId, known);
      return known && (instances.get(known) ?? makeInstance(clientId, known));
    }

    return (clientId) => {
      // The engine asks for the audience of what is presented as an ID token, which may be a list.
      if (typeof clientId !== 'string') return undefined;
      const known = directory.findClient(clientId);
      return known instanceof Promise ? known.then((found) => find(clientId, found)) : find(clientId, known);
    };
  });
}
