// /admin/v1/clients: register, read, change, remove and disable clients. Their secrets:
// secret-routes.ts.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { accessRoutes } from '../http/access-routes.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { clientIdField, instant, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { type Client, clientMetadataSchema, clientPatchSchema } from './client.ts';
import type { Clients } from './clients.ts';
import { type IdleClient, listIdleClients } from './registration/idle-clients.ts';
import { assertAnotherClient } from './self-lockout.ts';
import { getClient, listClients } from './store.ts';

const clientSchema = clientMetadataSchema
  .extend({
    client_id: z.string(),
    client_id_issued_at: z.int().meta({ description: 'seconds since 1970 (RFC 7591 §3.2.1)' }),
    registered_by: z.string().meta({
      description: 'admin, token:<id of an initial access token>, open or metadata_document',
    }),
    disabled: z.boolean(),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'Client' });

const createdClientSchema = clientSchema
  .extend({
    client_secret: z.string().optional().meta({ description: 'shown in this answer only' }),
    client_secret_expires_at: z.int().optional().meta({ description: '0: does not expire (RFC 7591 §3.2.1)' }),
  })
  .meta({ id: 'CreatedClient' });

const idleClientSchema = z
  .object({
    client_id: z.string(),
    client_name: z.string(),
    registered_by: z.string(),
    created_at: instant,
    last_used_at: instant.nullable(),
  })
  .meta({ id: 'IdleClient' });

const daysField = z
  .string()
  .regex(/^\d{1,4}$/, 'must be a whole number')
  .transform(Number)
  .meta({ description: 'without a token for this many days; 30 if left out' });

const params = z.strictObject({ client_id: clientIdField });
const tag = 'clients';
const PATH = '/clients/{client_id}';

export interface ClientRoutesDeps {
  readonly query: Query;
  readonly clients: Clients;
}

export function clientRoutes(deps: ClientRoutesDeps): ApiRoute[] {
  const routes = [createRoute, listRoute, getRoute, changeRoute, removeRoute, listIdleRoute];
  return [...routes.map((route) => route(deps)), ...accessOf(deps)];
}

const createRoute = ({ clients }: ClientRoutesDeps) =>
  apiRoute({
    operationId: 'createClient',
    method: 'post',
    path: '/clients',
    tag,
    scope: 'admin:write',
    summary: 'Register a client',
    body: clientMetadataSchema.extend({ client_id: clientIdField.optional() }),
    answers: { 201: { description: 'The client, with its secret', schema: createdClientSchema } },
    async handle({ body, by }) {
      const { client_id: chosenId, ...metadata } = body;
      const { client, secret } = await clients.create(chosenId, metadata, by);
      return {
        status: 201,
        location: `/admin/v1/clients/${encodeURIComponent(client.clientId)}`,
        version: client.version,
        body: {
          ...toWire(client),
          ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
        },
      };
    },
  });

const listRoute = ({ query }: ClientRoutesDeps) =>
  apiRoute({
    operationId: 'listClients',
    method: 'get',
    path: '/clients',
    tag,
    scope: 'admin:read',
    summary: 'List clients by client_id',
    query: z.strictObject({
      ...pageQuery,
      q: text(200).optional().meta({ description: 'part of a client_id or client_name' }),
    }),
    answers: { 200: { description: 'A page of clients', schema: pageSchema(clientSchema) } },
    async handle({ query: filter }) {
      const page = toPageRequest(filter);
      const found = await listClients(query, { ...page, search: filter.q });
      return { status: 200, body: toPage(found, page.limit, toWire, (client) => client.clientId) };
    },
  });

const getRoute = ({ query }: ClientRoutesDeps) =>
  apiRoute({
    operationId: 'getClient',
    method: 'get',
    path: PATH,
    tag,
    scope: 'admin:read',
    summary: 'Read a client',
    params,
    answers: { 200: { description: 'The client', schema: clientSchema } },
    handle: async ({ params: { client_id: clientId } }) => answer(await getClient(query, clientId)),
  });

const changeRoute = ({ clients }: ClientRoutesDeps) =>
  apiRoute({
    operationId: 'changeClient',
    method: 'patch',
    path: PATH,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Change members of a client; null removes one',
    params,
    body: clientPatchSchema,
    answers: { 200: { description: 'The changed client', schema: clientSchema } },
    handle: async ({ params: { client_id: clientId }, body, ifVersion, by }) =>
      answer(await clients.change(clientId, body, ifVersion, by)),
  });

const removeRoute = ({ clients }: ClientRoutesDeps) =>
  apiRoute({
    operationId: 'removeClient',
    method: 'delete',
    path: PATH,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Remove a client with its secrets, grants and tokens',
    params,
    answers: { 204: { description: 'Removed' } },
    async handle({ params: { client_id: clientId }, ifVersion, by, callerClientId }) {
      assertAnotherClient(callerClientId, clientId);
      await clients.remove(clientId, ifVersion, by);
      return { status: 204 };
    },
  });

const listIdleRoute = ({ query }: ClientRoutesDeps) =>
  apiRoute({
    operationId: 'listIdleClients',
    method: 'get',
    path: '/idle-clients',
    tag,
    scope: 'admin:read',
    summary: 'List the dynamically registered clients that the removal of idle clients would remove',
    query: z.strictObject({ ...pageQuery, days: daysField.optional() }),
    answers: { 200: { description: 'A page of clients', schema: pageSchema(idleClientSchema) } },
    async handle({ query: filter }) {
      const page = toPageRequest(filter);
      const found = await listIdleClients(query, filter.days ?? 30, page);
      return { status: 200, body: toPage(found, page.limit, idleToWire, (client) => client.clientId) };
    },
  });

const accessOf = ({ clients }: ClientRoutesDeps) =>
  accessRoutes({
    name: 'Client',
    path: PATH,
    tag,
    params,
    idOf: ({ client_id: clientId }) => clientId,
    summaries: {
      disable: 'Refuse the client everywhere; ends all its tokens and grants, for good',
      enable: 'Enable a disabled client again; brings no token back',
      revoke: 'Revoke every token, refresh token, code, grant and remembered consent of a client, JWTs included',
    },
    schema: clientSchema,
    hasSessions: false,
    answer,
    assertMayDisable: assertAnotherClient,
    holders: clients,
  });

function answer(client: Client) {
  return { status: 200, version: client.version, body: toWire(client) };
}

function toWire(client: Client) {
  return {
    client_id: client.clientId,
    client_id_issued_at: Math.floor(client.createdAt.getTime() / 1000),
    ...client.metadata,
    registered_by: client.registeredBy,
    disabled: client.isDisabled,
    created_at: client.createdAt.toISOString(),
    updated_at: client.updatedAt.toISOString(),
  };
}

function idleToWire(client: IdleClient) {
  return {
    client_id: client.clientId,
    client_name: client.name,
    registered_by: client.registeredBy,
    created_at: client.createdAt.toISOString(),
    last_used_at: client.lastUsedAt?.toISOString() ?? null,
  };
}
