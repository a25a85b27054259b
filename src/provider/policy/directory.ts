// What may be done with a token, by the rows that operators change: which client may call which
// resource server (resource-server-policy), whether a token is still valid (token-status), which
// authorization details it may carry. Grants and tokens ask here; nothing here knows how tokens are
// stored. This file is the cache of clients, users, resource servers and policy rows, which every
// request reads several times. An entry is as current as the change log says (database/cache);
// what is not remembered is read in batches.

import { type CachedClient, lookUpClients } from '../../clients/lookup.ts';
import { type Answer, createCache } from '../../database/cache.ts';
import type { Database } from '../../database/database.ts';
import { canonicalSpelling, normalForm } from '../../resource-servers/identifier.ts';
import {
  type CachedGrants,
  type CachedResourceServer,
  lookUpByNormalForm,
  lookUpGrants,
  lookUpResourceServers,
} from '../../resource-servers/lookup.ts';
import { type CachedUser, lookUpUsers } from '../../users/lookup.ts';
import { createBatching, type StoreMetrics } from '../storage/batching.ts';

/** About 2 KB each: 40 MB at most, far more clients than are active at the same time. */
const MAX_CLIENTS = 20_000;
const MAX_USERS = 20_000;
const MAX_RESOURCE_SERVERS = 2_000;

export interface Directory {
  /** disabled ones too */
  findClient(clientId: string): Answer<CachedClient>;
  /** disabled ones too */
  findUser(userId: string): Answer<CachedUser>;
  /** in whatever spelling; one that is registered exactly like that comes first */
  findResourceServer(identifier: string): Answer<CachedResourceServer>;
  /** the policy rows of a client; empty when it may call nothing, undefined when it cannot exist */
  findGrants(clientId: string): Answer<CachedGrants>;
}

export function createDirectory({ batchQuery, changes, queueSize }: Database, metrics?: StoreMetrics): Directory {
  const batch = createBatching({ queueSize }, metrics);

  function remembering<Value extends object>(
    topic: string,
    max: number,
    lookUp: (keys: readonly string[]) => Promise<readonly (Value | undefined)[]>,
    normalize?: (key: string) => string,
  ) {
    const load = batch<string, Value | undefined>(topic, lookUp);
    return createCache<Value>({
      changes,
      topic,
      max,
      load,
      onRequest: (result) => metrics?.cacheRequested(topic, result),
      ...(normalize === undefined ? {} : { normalize }),
    });
  }

  const clients = remembering('client', MAX_CLIENTS, (ids) => lookUpClients(batchQuery, ids));
  const users = remembering('user', MAX_USERS, (ids) => lookUpUsers(batchQuery, ids));
  const grants = remembering('client_grants', MAX_CLIENTS, (ids) => lookUpGrants(batchQuery, ids));
  const resourceServers = remembering(
    'resource_server',
    MAX_RESOURCE_SERVERS,
    (identifiers) => lookUpResourceServers(batchQuery, identifiers),
    canonicalSpelling,
  );
  const otherSpellings = remembering(
    'resource_server',
    MAX_RESOURCE_SERVERS,
    (forms) => lookUpByNormalForm(batchQuery, forms),
    normalForm,
  );

  /** A spelling that is not registered costs a statement more, which no other request has to pay for. */
  function findResourceServer(identifier: string): Answer<CachedResourceServer> {
    const exact = resourceServers.get(identifier);
    return exact instanceof Promise ? exact.then((found) => found ?? otherSpellings.get(identifier)) : exact;
  }

  return {
    findClient: (clientId) => (isKey(clientId) ? clients.get(clientId) : undefined),
    findUser: (userId) => (isKey(userId) ? users.get(userId) : undefined),
    findResourceServer: (identifier) => (isKey(identifier) ? findResourceServer(identifier) : undefined),
    findGrants: (clientId) => (isKey(clientId) ? grants.get(clientId) : undefined),
  };
}

/**
 * PostgreSQL cannot compare with NUL, and no index of ours holds a key that long. A lone surrogate
 * would be sent as U+FFFD: what has that in its name would be remembered under a key that no change
 * is announced for.
 */
function isKey(text: string): boolean {
  return text.length <= 2_000 && text.isWellFormed() && !text.includes('\0');
}
