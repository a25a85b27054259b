// Clients: the applications that ask for tokens. This folder owns their metadata and secrets, and
// their registration: by operators here, dynamic in registration/. It provides Client values and
// the functions below, each one transaction with its audit event. What a client may call is policy
// (resource-servers/); its tokens are issued by provider/.

import { randomBytes } from 'node:crypto';
import { type AuditEventType, type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, assertVersion, notFound, type VersionCondition } from '../errors.ts';
import { type NotBefore, untilTokensAreNewer } from '../not-before.ts';
import type { PasswordHasher } from '../password-hash.ts';
import {
  applyPatch,
  authenticatesWithSecret,
  type Client,
  type ClientMetadata,
  type ClientPatch,
  isOfDocument,
  isSelfRegistered,
  withDefaults,
} from './client.ts';
import { assertSensible, changesSector } from './metadata-rules.ts';
import type { AllowedRegistration } from './registration/unverified.ts';
import { type ReplaceDeps, type Replacement, replaceMetadata } from './replace-metadata.ts';
import { generateSecret, hashGeneratedSecret } from './secret.ts';
import * as store from './store.ts';

export interface Clients {
  create(
    clientId: string | undefined,
    metadata: ClientMetadata,
    by: ChangedBy,
    registration?: SelfRegistration,
  ): Promise<CreatedClient>;
  /** by an operator */
  change(clientId: string, patch: ClientPatch, ifVersion: VersionCondition, by: ChangedBy): Promise<Client>;
  /** by the client itself (RFC 7592) */
  changeOwn(clientId: string, patch: ClientPatch, ifVersion: VersionCondition, by: ChangedBy): Promise<Client>;
  remove(clientId: string, ifVersion: VersionCondition, by: ChangedBy): Promise<void>;
  setDisabled(clientId: string, isDisabled: boolean, ifVersion: VersionCondition, by: ChangedBy): Promise<Client>;
  revokeTokens(clientId: string, by: ChangedBy): Promise<store.RevokedCounts & NotBefore>;
  addSecret(clientId: string, input: NewSecret, by: ChangedBy): Promise<CreatedSecret>;
  removeSecret(clientId: string, secretId: string, by: ChangedBy): Promise<void>;
}

/** Of a client that is registered dynamically (RFC 7591). */
export interface SelfRegistration {
  /** SHA-256 of the registration access token (RFC 7592) */
  readonly tokenHash: Buffer;
  /** called first in the same transaction; throws to refuse */
  readonly permit: (query: Query) => Promise<{ registeredBy: string; allowed: AllowedRegistration }>;
}

export interface CreatedClient {
  readonly client: Client;
  /** shown this once; undefined when the client does not authenticate with a secret */
  readonly secret: string | undefined;
}

export interface NewSecret {
  /** how long the present secrets stay valid */
  readonly overlapSeconds: number;
  /** a secret to import; undefined: generate one */
  readonly secret: string | undefined;
}

export interface CreatedSecret {
  readonly id: string;
  readonly createdAt: Date;
  /** the generated secret; undefined when it was imported, since the caller has it */
  readonly secret: string | undefined;
}

export interface ClientsDeps extends ReplaceDeps {
  readonly database: Database;
  readonly passwords: PasswordHasher;
  /** checks metadata by the engine's own schema; throws AppError `validation_failed` */
  readonly assertLoadable: (clientId: string, metadata: ClientMetadata) => void;
  /** checks that the `sector_identifier_uri`, if any, names the redirect URIs; throws the same */
  readonly assertSector: (clientId: string, metadata: ClientMetadata) => Promise<void>;
}

async function create(
  deps: ClientsDeps,
  chosenId: string | undefined,
  input: ClientMetadata,
  by: ChangedBy,
  registration?: SelfRegistration,
): Promise<CreatedClient> {
  const clientId = chosenId ?? randomBytes(16).toString('hex');
  const metadata = withDefaults(input, registration !== undefined);
  assertSensible(metadata);
  deps.assertLoadable(clientId, metadata);
  await deps.assertSector(clientId, metadata);
  const secret = authenticatesWithSecret(metadata) ? generateSecret() : undefined;
  return deps.database.transaction(async (query) => {
    const permit = await registration?.permit(query);
    const origin = permit && { ...permit, tokenHash: registration?.tokenHash };
    const client = await store.insertClient(query, clientId, metadata, origin);
    if (client === undefined) throw new AppError('already_exists', `a client ${clientId} exists already`);
    if (secret !== undefined) await store.insertSecret(query, clientId, newId(), hashGeneratedSecret(secret));
    await record(query, 'client.created', clientId, by, {
      client_name: metadata.client_name,
      ...(permit === undefined ? {} : { registered_by: permit.registeredBy }),
    });
    return { client, secret };
  });
}

async function change(
  deps: ClientsDeps,
  author: Replacement['author'],
  clientId: string,
  patch: ClientPatch,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<Client> {
  // Before the transaction: the host of the sector_identifier_uri may be slow.
  const known = await store.findClient(deps.database.query, clientId);
  const planned = known && withDefaults(applyPatch(known.metadata, patch), isSelfRegistered(known));
  if (planned !== undefined && changesSector(planned, known?.metadata)) await deps.assertSector(clientId, planned);
  const { client, secondsToWait } = await locked(deps, clientId, ifVersion, async (query, before) => {
    if (isOfDocument(before)) {
      throw new AppError('conflict', 'the client is described by its document: it can be disabled, not changed');
    }
    const metadata = withDefaults(applyPatch(before.metadata, patch), isSelfRegistered(before));
    assertSensible(metadata, withDefaults(before.metadata, isSelfRegistered(before)));
    deps.assertLoadable(clientId, metadata);
    await record(query, 'client.changed', clientId, by, { members: Object.keys(patch) });
    return replaceMetadata(deps, query, { before, metadata, author, by });
  });
  if (secondsToWait !== undefined) await untilTokensAreNewer(secondsToWait);
  return client;
}

async function remove(deps: ClientsDeps, clientId: string, ifVersion: VersionCondition, by: ChangedBy): Promise<void> {
  await locked(deps, clientId, ifVersion, async (query) => {
    await deps.removeArtifacts(query, clientId);
    await store.removeClient(query, clientId);
    await record(query, 'client.removed', clientId, by);
  });
  // A later client with the same id begins in a later second than every JWT of this one.
  await untilTokensAreNewer(1);
}

/** What was issued before ends when the client is disabled: enabling the client brings nothing back. */
async function setDisabled(
  deps: ClientsDeps,
  clientId: string,
  isDisabled: boolean,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<Client> {
  let secondsToWait = 0;
  const client = await locked(deps, clientId, ifVersion, async (query) => {
    const changed = await store.setClientDisabled(query, clientId, isDisabled);
    if (isDisabled) ({ secondsToWait } = await revokeEverything(deps, query, clientId));
    await record(query, isDisabled ? 'client.disabled' : 'client.enabled', clientId, by);
    return changed;
  });
  await untilTokensAreNewer(secondsToWait);
  return client;
}

async function revokeTokens(deps: ClientsDeps, clientId: string, by: ChangedBy) {
  const revoked = await locked(deps, clientId, undefined, async (query) => {
    const { notBefore, secondsToWait, ...counts } = await revokeEverything(deps, query, clientId);
    await store.removeConsentsOfClient(query, clientId);
    await record(query, 'client.tokens_revoked', clientId, by, counts);
    return { ...counts, notBefore, secondsToWait };
  });
  await untilTokensAreNewer(revoked.secondsToWait);
  return revoked;
}

/** Removes everything that was issued to a client; JWTs are void by tokens_not_before. */
async function revokeEverything(deps: ClientsDeps, query: Query, clientId: string) {
  const counts = await deps.removeArtifacts(query, clientId);
  return { ...counts, ...(await store.setClientNotBefore(query, clientId)) };
}

async function addSecret(
  deps: ClientsDeps,
  clientId: string,
  { secret: imported, overlapSeconds }: NewSecret,
  by: ChangedBy,
): Promise<CreatedSecret> {
  const secret = imported ?? generateSecret();
  // argon2 takes 25 ms, for which the lock on the row must not be held.
  const hash = imported === undefined ? hashGeneratedSecret(secret) : await deps.passwords.hash(secret);
  return locked(deps, clientId, undefined, async (query, client) => {
    if (!authenticatesWithSecret(client.metadata)) {
      const method = client.metadata.token_endpoint_auth_method;
      throw new AppError('conflict', `the client authenticates with ${method}: it has no secret`);
    }
    await store.expireSecrets(query, clientId, overlapSeconds);
    const id = newId();
    const createdAt = await store.insertSecret(query, clientId, id, hash);
    const detail = { secret_id: id, overlap_seconds: overlapSeconds, imported: imported !== undefined };
    await record(query, 'client_secret.created', clientId, by, detail);
    return { id, createdAt, secret: imported === undefined ? secret : undefined };
  });
}

function removeSecret(deps: ClientsDeps, clientId: string, secretId: string, by: ChangedBy): Promise<void> {
  return locked(deps, clientId, undefined, async (query) => {
    if (!(await store.removeSecret(query, clientId, secretId))) throw notFound(`secret ${secretId}`);
    await record(query, 'client_secret.removed', clientId, by, { secret_id: secretId });
  });
}

export function createClients(deps: ClientsDeps): Clients {
  return {
    create: (...input) => create(deps, ...input),
    change: (...input) => change(deps, 'operator', ...input),
    changeOwn: (...input) => change(deps, 'client', ...input),
    remove: (...input) => remove(deps, ...input),
    setDisabled: (...input) => setDisabled(deps, ...input),
    revokeTokens: (...input) => revokeTokens(deps, ...input),
    addSecret: (...input) => addSecret(deps, ...input),
    removeSecret: (...input) => removeSecret(deps, ...input),
  };
}

/** Runs `work` in one transaction that has locked the client and checked its version. */
function locked<T>(
  { database }: ClientsDeps,
  clientId: string,
  ifVersion: VersionCondition,
  work: (query: Query, client: Client) => Promise<T>,
): Promise<T> {
  return database.longTransaction(async (query) => {
    const client = await store.lockClient(query, clientId);
    assertVersion(ifVersion, client.version);
    return work(query, client);
  });
}

function record(query: Query, type: AuditEventType, clientId: string, by: ChangedBy, detail = {}): Promise<void> {
  return recordAudit(query, { type, actor: by.actor, clientId, requestId: by.requestId, detail });
}

function newId(): string {
  return randomBytes(12).toString('base64url');
}
