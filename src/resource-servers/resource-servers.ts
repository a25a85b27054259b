// What may be done to resource servers and to the policy rows. Each function is one transaction with its audit event inside.

import { type AuditEventType, type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, assertVersion, notFound } from '../errors.ts';
import {
  type ClientGrant,
  type ClientGrantInput,
  otherSpelling,
  type ResourceServer,
  type ResourceServerInput,
} from './resource-server.ts';
import * as store from './store.ts';

export interface ResourceServers {
  create(identifier: string, input: ResourceServerInput, by: ChangedBy): Promise<ResourceServer>;
  change(
    identifier: string,
    change: (before: ResourceServer) => ResourceServerInput,
    ifVersion: number | undefined,
    by: ChangedBy,
  ): Promise<ResourceServer>;
  remove(identifier: string, ifVersion: number | undefined, by: ChangedBy): Promise<void>;
  setGrant(
    identifier: string,
    clientId: string,
    input: ClientGrantInput,
    ifVersion: number | undefined,
    by: ChangedBy,
  ): Promise<{ grant: ClientGrant; isNew: boolean }>;
  removeGrant(identifier: string, clientId: string, ifVersion: number | undefined, by: ChangedBy): Promise<void>;
}

export function createResourceServers(deps: { database: Database; adminAudience: string }): ResourceServers {
  const { database } = deps;

  function changing<T>(
    identifier: string,
    ifVersion: number | undefined,
    work: (query: Query, before: ResourceServer) => Promise<T>,
  ): Promise<T> {
    return database.transaction(async (query) => {
      const before = await store.lockResourceServer(query, identifier);
      if (before === undefined) throw notFound(`resource server ${identifier}`);
      assertVersion(ifVersion, before.version);
      return work(query, before);
    });
  }

  async function assertIntrospectionClient(query: Query, input: ResourceServerInput): Promise<void> {
    const clientId = input.introspectionClientId;
    if (clientId === undefined || (await store.clientExists(query, clientId))) return;
    const fault = { pointer: '/introspection_client_id', detail: 'names a client that does not exist' };
    throw new AppError('validation_failed', `${fault.pointer} ${fault.detail}`, { faults: [fault] });
  }

  return {
    create(identifier, input, by) {
      return database.transaction(async (query) => {
        await assertIntrospectionClient(query, input);
        assertOwnScopes(input);
        const isTaken = (await store.findResourceServer(query, otherSpelling(identifier))) !== undefined;
        const created = isTaken ? undefined : await store.insertResourceServer(query, identifier, input);
        if (created === undefined) {
          throw new AppError('already_exists', `a resource server ${identifier} exists already`);
        }
        await record(query, 'resource_server.created', by, { resource_server: identifier });
        return created;
      });
    },

    change(identifier, change, ifVersion, by) {
      return changing(identifier, ifVersion, async (query, before) => {
        const input = change(before);
        assertOwnScopes(input);
        await assertIntrospectionClient(query, input);
        const changed = await store.updateResourceServer(query, identifier, input);
        await record(query, 'resource_server.changed', by, { resource_server: identifier });
        return changed;
      });
    },

    remove(identifier, ifVersion, by) {
      if (identifier === deps.adminAudience) {
        throw new AppError('conflict', 'the admin API itself cannot be removed');
      }
      return changing(identifier, ifVersion, async (query) => {
        await store.removeResourceServer(query, identifier);
        await record(query, 'resource_server.removed', by, { resource_server: identifier });
      });
    },

    setGrant(identifier, clientId, input, ifVersion, by) {
      return changing(identifier, undefined, async (query, resourceServer) => {
        if (!(await store.clientExists(query, clientId))) throw notFound(`client ${clientId}`);
        const { scopes, mayExchange, mayActClientId } = input;
        const unknown = scopes.filter((scope) => !resourceServer.scopes.includes(scope));
        if (unknown.length > 0) {
          const fault = { pointer: '/scopes', detail: `${unknown.join(', ')}: not a scope of this resource server` };
          throw new AppError('validation_failed', `${fault.pointer} ${fault.detail}`, { faults: [fault] });
        }
        const before = await store.findGrant(query, identifier, clientId);
        assertVersion(ifVersion, before?.version);
        const grant = await store.setGrant(query, identifier, clientId, input);
        const detail = {
          resource_server: identifier,
          scopes,
          ...(mayExchange ? { token_exchange: true } : {}),
          ...(mayActClientId === undefined ? {} : { may_act: mayActClientId }),
        };
        await record(query, 'client_grant.set', by, detail, clientId);
        return { grant, isNew: before === undefined };
      });
    },

    removeGrant(identifier, clientId, ifVersion, by) {
      return changing(identifier, undefined, async (query) => {
        const before = await store.findGrant(query, identifier, clientId);
        if (before === undefined) throw notFound(`grant of client ${clientId} at ${identifier}`);
        assertVersion(ifVersion, before.version);
        await store.removeGrant(query, identifier, clientId);
        await record(query, 'client_grant.removed', by, { resource_server: identifier }, clientId);
      });
    },
  };
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

function assertOwnScopes({ scopes, selfRegisteredScopes = [] }: ResourceServerInput): void {
  const unknown = selfRegisteredScopes.filter((scope) => !scopes.includes(scope));
  if (unknown.length === 0) return;
  const fault = {
    pointer: '/self_registered_clients/scopes',
    detail: `${unknown.join(', ')}: not a scope of this resource server`,
  };
  throw new AppError('validation_failed', `${fault.pointer} ${fault.detail}`, { faults: [fault] });
}
