// The keys that a client publishes at its `jwks_uri`: when they are read again. OpenID Connect Core
// §10.1.1: "the verifier knows to go back to the jwks_uri location to re-retrieve the keys when it
// sees an unfamiliar kid value". Left alone, the engine uses a key for as long as it fits, and for as
// long as the headers of the last answer say it does not look for another.
//
// Anybody can send a signature with an unfamiliar kid, so how often that causes a request is limited,
// for each client and for all of them.

import { LRUCache } from 'lru-cache';
import type { Client } from 'oidc-provider';
import type { Log } from '../../log.ts';
import { keyStoreOf, useKeyStore } from '../engine-internals.ts';
import type { ClientKeyStore } from '../engine-types.ts';

/** A key that a client has withdrawn counts no longer than that. Headers may say less, but not less than a minute. */
const MAX_AGE_MS = 3_600_000;
/** While they cannot be read again, known keys are used. After a day they are not. */
const MAX_AGE_UNREAD_MS = 86_400_000;
const INTERVAL_MS = 5_000;
/** Of all clients together, in one process. Keys that are due are read in any case. */
const UNFAMILIAR_PER_MINUTE = 60;
/** As many clients as publish keys and are active at the same time. */
const MAX_STORES = 2_000;

export interface ClientKeysDeps {
  /** `x5t#S256` of the certificate that came with the request that is underway */
  readonly presentedThumbprint: () => string | undefined;
  readonly log: Log;
}

/** @returns a function that gives all instances of a client the same keys, within the limits */
export function createClientKeys(deps: ClientKeysDeps): (client: Client) => void {
  const stores = new LRUCache<string, ClientKeyStore>({ max: MAX_STORES });
  const limited = new WeakSet<ClientKeyStore>();
  const mayLookForUnfamiliar = createBudget(UNFAMILIAR_PER_MINUTE, 60_000);
  return (client) => {
    const { clientId, jwksUri, tokenEndpointAuthMethod } = client;
    if (jwksUri === undefined) return;
    const key = JSON.stringify([clientId, jwksUri, tokenEndpointAuthMethod]);
    const known = stores.get(key);
    if (known !== undefined) return useKeyStore(client, known);
    const own = keyStoreOf(client);
    if (!limited.has(own)) limitReads(own, client, { ...deps, mayLookForUnfamiliar });
    limited.add(own);
    stores.set(key, own);
  };
}

function limitReads(
  store: ClientKeyStore,
  { clientId, tokenEndpointAuthMethod }: Client,
  deps: ClientKeysDeps & { readonly mayLookForUnfamiliar: () => boolean },
): void {
  const read = store.refresh.bind(store);
  const select = store.selectForVerify.bind(store);
  let readAt = Number.NEGATIVE_INFINITY;
  let triedAt = Number.NEGATIVE_INFINITY;
  let dueAt = Number.NEGATIVE_INFINITY;
  let isAsked = false;
  let isReading = false;
  let reading: Promise<void> | undefined;
  const mayTry = () => performance.now() - triedAt >= INTERVAL_MS;
  const isDue = () => performance.now() >= dueAt;

  function lacksCertificate(): boolean {
    if (tokenEndpointAuthMethod !== 'self_signed_tls_client_auth') return false;
    const thumbprint = deps.presentedThumbprint();
    return thumbprint !== undefined && ![...store].some((key) => key['x5t#S256'] === thumbprint);
  }

  async function readNow(): Promise<void> {
    isReading = true;
    triedAt = performance.now();
    try {
      await read();
      readAt = performance.now();
      dueAt = readAt + Math.min(MAX_AGE_MS, (store.freshUntil ?? 0) * 1000 - Date.now());
    } catch (error) {
      deps.log.info({ client_id: clientId, error }, 'the keys of a client could not be read');
      if (performance.now() - readAt < MAX_AGE_UNREAD_MS) return;
      store.clear();
      throw error;
    } finally {
      isReading = false;
    }
  }

  // The engine asks this when no key fits, and calls `refresh` at once unless it is true.
  store.fresh = () => {
    if (isReading) return false;
    isAsked = mayTry() && (isDue() || deps.mayLookForUnfamiliar());
    return !isAsked;
  };
  store.refresh = async () => {
    const isWanted = isAsked || (mayTry() && (isDue() || (lacksCertificate() && deps.mayLookForUnfamiliar())));
    isAsked = false;
    if (isWanted && !isReading) reading = readNow();
    if (isReading) await reading;
  };
  // Without a key that fits, the engine reads them.
  store.selectForVerify = (choice) => (isDue() && mayTry() ? [] : select(choice));
}

function createBudget(count: number, windowMs: number): () => boolean {
  let startedAt = Number.NEGATIVE_INFINITY;
  let used = 0;
  return () => {
    const now = performance.now();
    if (now - startedAt >= windowMs) {
      startedAt = now;
      used = 0;
    }
    used += 1;
    return used <= count;
  };
}
