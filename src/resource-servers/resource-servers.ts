// Resource servers: the APIs that tokens are meant for, and the policy. A policy row lists which
// client may call which API with which scopes. This folder owns both and their types of
// authorization details; it provides their values and the functions below, each of which is one
// transaction with its audit event. The policy is applied in provider/policy and in the guard.

import { type AuditEventType, type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, assertVersion, notFound, type VersionCondition } from '../errors.ts';
import * as grantStore from './grant-store.ts';
import {
  type ClientGrant,
  type ClientGrantInput,
  RESOURCE_SERVER_DEFAULTS,
  type ResourceServer,
  type ResourceServerInput,
} from './resource-server.ts';
import * as store from './store.ts';

export interface ResourceServers {
  create(identifier: string, input: ResourceServerInput, by: ChangedBy): Promise<ResourceServer>;
  change(
    identifier: string,
    change: (before: ResourceServer) => ResourceServerInput,
    ifVersion: VersionCondition,
    by: ChangedBy,
  ): Promise<ResourceServer>;
  remove(identifier: string, ifVersion: VersionCondition, by: ChangedBy): Promise<void>;
  setGrant(
    identifier: string,
    clientId: string,
    input: ClientGrantInput,
    ifVersion: VersionCondition,
    by: ChangedBy,
  ): Promise<{ grant: ClientGrant; isNew: boolean }>;
  removeGrant(identifier: string, clientId: string, ifVersion: VersionCondition, by: ChangedBy): Promise<void>;
}

export interface ResourceServersDeps {
  readonly database: Database;
  /** the identifier of the admin API, which cannot be removed */
  readonly adminAudience: string;
  /** names that no API may give to a scope of its own */
  readonly reservedScopes: readonly string[];
}

function create(
  { database, reservedScopes }: ResourceServersDeps,
  identifier: string,
  input: ResourceServerInput,
  by: ChangedBy,
): Promise<ResourceServer> {
  return database.transaction(async (query) => {
    await assertIntrospectionClient(query, input);
    await assertHasKey(query, input);
    assertNotReserved(input.scopes, reservedScopes);
    assertOwnScopes(input);
    const isTaken = (await store.findResourceServer(query, identifier)) !== undefined;
    const created = isTaken ? undefined : await store.insertResourceServer(query, identifier, input);
    if (created === undefined) {
      throw new AppError('already_exists', `a resource server ${identifier} exists already`);
    }
    await record(query, 'resource_server.created', by, { resource_server: identifier, ...newSigning(input) });
    return created;
  });
}

function change(
  deps: ResourceServersDeps,
  identifier: string,
  toInput: (before: ResourceServer) => ResourceServerInput,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<ResourceServer> {
  return locked(deps, identifier, ifVersion, async (query, before) => {
    const input = toInput(before);
    // One that was there before they were reserved stays until it is removed.
    const added = input.scopes.filter((name) => !before.scopes.includes(name));
    assertNotReserved(added, deps.reservedScopes);
    assertOwnScopes(input);
    await assertIntrospectionClient(query, input);
    await assertHasKey(query, input);
    const changed = await store.updateResourceServer(query, identifier, input);
    await record(query, 'resource_server.changed', by, { resource_server: identifier, ...newSigning(input, before) });
    return changed;
  });
}

async function remove(
  deps: ResourceServersDeps,
  identifier: string,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<void> {
  if (identifier === deps.adminAudience) throw new AppError('conflict', 'the admin API itself cannot be removed');
  await locked(deps, identifier, ifVersion, async (query) => {
    await store.removeResourceServer(query, identifier);
    await record(query, 'resource_server.removed', by, { resource_server: identifier });
  });
}

function setGrant(
  deps: ResourceServersDeps,
  identifier: string,
  clientId: string,
  input: ClientGrantInput,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<{ grant: ClientGrant; isNew: boolean }> {
  return locked(deps, identifier, undefined, async (query, resourceServer) => {
    if (!(await grantStore.clientExists(query, clientId))) throw notFound(`client ${clientId}`);
    const { scopes, mayExchange, mayActClientId } = input;
    assertScopesOf(resourceServer, scopes, '/scopes');
    const before = await grantStore.findGrant(query, identifier, clientId);
    assertVersion(ifVersion, before?.version);
    const grant = await grantStore.setGrant(query, identifier, clientId, input);
    const detail = {
      resource_server: identifier,
      scopes,
      ...(mayExchange ? { token_exchange: true } : {}),
      ...(mayActClientId === undefined ? {} : { may_act: mayActClientId }),
    };
    await record(query, 'client_grant.set', by, detail, clientId);
    return { grant, isNew: before === undefined };
  });
}

function removeGrant(
  deps: ResourceServersDeps,
  identifier: string,
  clientId: string,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<void> {
  return locked(deps, identifier, undefined, async (query) => {
    const before = await grantStore.getGrant(query, identifier, clientId);
    assertVersion(ifVersion, before.version);
    await grantStore.removeGrant(query, identifier, clientId);
    await record(query, 'client_grant.removed', by, { resource_server: identifier }, clientId);
  });
}

export function createResourceServers(deps: ResourceServersDeps): ResourceServers {
  return {
    create: (...input) => create(deps, ...input),
    change: (...input) => change(deps, ...input),
    remove: (...input) => remove(deps, ...input),
    setGrant: (...input) => setGrant(deps, ...input),
    removeGrant: (...input) => removeGrant(deps, ...input),
  };
}

/** Runs `work` in one transaction that has locked the resource server and checked its version. */
function locked<T>(
  { database }: ResourceServersDeps,
  identifier: string,
  ifVersion: VersionCondition,
  work: (query: Query, before: ResourceServer) => Promise<T>,
): Promise<T> {
  return database.transaction(async (query) => {
    const before = await store.lockResourceServer(query, identifier);
    assertVersion(ifVersion, before.version);
    return work(query, before);
  });
}

function record(
  query: Query,
  type: AuditEventType,
  by: ChangedBy,
  detail: Record<string, unknown>,
  clientId?: string,
): Promise<void> {
  return recordAudit(query, { type, actor: by.actor, clientId, requestId: by.requestId, detail });
}

/** An API that still expects the former algorithm or type refuses the tokens from then on. */
function newSigning(
  { accessTokenAlgorithm: alg, accessTokenType: typ }: ResourceServerInput,
  before: ResourceServerInput = RESOURCE_SERVER_DEFAULTS,
): Record<string, unknown> {
  return {
    ...(alg === before.accessTokenAlgorithm ? {} : { access_token_signing_alg: alg }),
    ...(typ === before.accessTokenType ? {} : { access_token_typ: typ }),
  };
}

async function assertIntrospectionClient(query: Query, input: ResourceServerInput): Promise<void> {
  const clientId = input.introspectionClientId;
  if (clientId === undefined || (await grantStore.clientExists(query, clientId))) return;
  throw faultyMember('/introspection_client_id', 'names a client that does not exist');
}

/** Without one no token could be signed. Once there is a key, another takes its place before it goes. */
async function assertHasKey(query: Query, { accessTokenAlgorithm: alg }: ResourceServerInput): Promise<void> {
  if (await store.canSignWith(query, alg)) return;
  const detail = `${alg}: there is no published key for it yet: POST /admin/v1/keys with {"alg":"${alg}"}`;
  throw faultyMember('/access_token_signing_alg', detail);
}

/** In a token such a name is about the claims of the user, whatever the API means by it. */
function assertNotReserved(scopes: readonly string[], reserved: readonly string[]): void {
  const taken = scopes.filter((name) => reserved.includes(name));
  if (taken.length === 0) return;
  throw faultyMember(
    '/scopes',
    `${taken.join(', ')}: a scope of OpenID Connect; choose another name, such as api:${taken[0]}`,
  );
}

function assertOwnScopes({ scopes, selfRegisteredScopes = [] }: ResourceServerInput): void {
  assertScopesOf({ scopes }, selfRegisteredScopes, '/self_registered_clients/scopes');
}

function assertScopesOf(
  resourceServer: Pick<ResourceServer, 'scopes'>,
  scopes: readonly string[],
  pointer: string,
): void {
  const unknown = scopes.filter((scope) => !resourceServer.scopes.includes(scope));
  if (unknown.length > 0) throw faultyMember(pointer, `${unknown.join(', ')}: not a scope of this resource server`);
}

function faultyMember(pointer: string, detail: string): AppError {
  return new AppError('validation_failed', `${pointer} ${detail}`, { faults: [{ pointer, detail }] });
}
