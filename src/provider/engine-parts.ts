// What an engine is built around: the stores, policies and caches that stay the same when the keys
// change.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type Koa from 'koa';
import type { Middleware } from 'koa';
import type { SecretVerifier } from '../clients/secret.ts';
import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { DeclaredTypes } from '../resource-servers/declared-types.ts';
import { createDocumentThrottle, createGuessThrottle, createRegistrationThrottle } from '../users/throttle.ts';
import { createClientAdapter } from './clients/client-adapter.ts';
import { createClientUses } from './clients/last-use.ts';
import { createPairwiseIdentifier } from './clients/pairwise.ts';
import type { ConfigurationDeps } from './configuration/configuration.ts';
import type { Pages } from './http/pages.ts';
import { withEngineRefusals } from './http/unavailable.ts';
import type { LogoutNotices } from './logout/logout-notices.ts';
import { createDefaultResource } from './policy/default-resource.ts';
import { createDirectory } from './policy/directory.ts';
import { createResourcePolicy } from './policy/resource-server-policy.ts';
import { createWriteBudget } from './policy/write-budget.ts';
import { createArtifactStore } from './storage/artifact-store.ts';
import { createUnitOfWork } from './storage/unit-of-work.ts';
import { createIntrospectionPolicy } from './tokens/introspection.ts';
import { createRevokeReplayed } from './tokens/replayed.ts';

/** There are 25,600,000,000 codes. A person who mistypes needs three attempts. */
const USER_CODE_GUESSES = { attempts: 20, windowSeconds: 900 };

/** What every request to this server passes first, and what every answer carries. */
export interface EnginePrelude {
  /** what the engine's app passes first */
  readonly middlewares: readonly Middleware[];
  /** sets the headers that every answer carries */
  setCommonHeaders(request: IncomingMessage, response: ServerResponse): void;
  /** the same headers, names and values by turns */
  rawHeaders(request: IncomingMessage): string[];
  /** that of our origins by which the client has come */
  originOf(request: IncomingMessage): string | undefined;
  /** after that, the app takes addresses and client from it, and not from headers or the socket */
  attachTo(app: Koa): void;
}

export interface ProviderDeps extends Omit<ConfigurationDeps, 'pairwiseIdentifier'> {
  /** secret, and never changed */
  readonly pairwiseSalt: string;
  readonly database: Database;
  /** of authorization details */
  readonly detailsTypes: Pick<DeclaredTypes, 'current'>;
  readonly secretVerifier: SecretVerifier;
  /** seals what must be found by something else than its id */
  readonly artifactKey: Buffer;
  readonly pages: Pages;
  readonly logoutNotices: Pick<LogoutNotices, 'add'>;
  readonly prelude: EnginePrelude;
  readonly metrics: Metrics;
  readonly log: Log;
}

export type Parts = ReturnType<typeof createParts>;

export function createParts(deps: ProviderDeps) {
  const { config, pairwiseSalt, secretVerifier, readClientCertificate, metrics, log } = deps;
  const database = engineDatabase(deps.database);
  const { query } = database;
  const sharedDirectory = createDirectory(database, metrics);
  const directory = withEngineRefusals(sharedDirectory);
  const artifactStore = withEngineRefusals(createArtifactStore(database, metrics));
  const unitOfWork = createUnitOfWork(artifactStore, database);
  const { accessTokenSeconds } = config.lifetimes;
  const resourcePolicy = createResourcePolicy({ directory, accessTokenSeconds });
  const defaultResource = createDefaultResource({ ...deps, directory });
  const introspectionPolicy = createIntrospectionPolicy({ directory, artifactStore });
  const registrationThrottle = createRegistrationThrottle(database.query, config.limits.registrationsPerHour);
  const clientAdapter = createClientAdapter({
    ...{ database, directory, secretVerifier, readClientCertificate, registrationThrottle, log },
  });
  const noteUse = createClientUses({ query, directory, log });
  const guesses = createGuessThrottle(database.query, 'user-code', USER_CODE_GUESSES);
  const documentThrottle = createDocumentThrottle(database.query);
  return {
    database,
    ...{ sharedDirectory, directory, artifactStore, unitOfWork, resourcePolicy, introspectionPolicy, clientAdapter },
    ...{ defaultResource, noteUse, guesses, documentThrottle },
    writeBudget: createWriteBudget(config.limits),
    pairwiseIdentifier: createPairwiseIdentifier(pairwiseSalt),
    revokeReplayed: createRevokeReplayed({ database, metrics }),
  };
}

/** Batches are shared: each caller of one gets a refusal of its own, from the store that it asks. */
function engineDatabase(database: Database): Database {
  const { query, transaction, longTransaction } = database;
  return { ...database, ...withEngineRefusals({ query, transaction, longTransaction }) };
}
