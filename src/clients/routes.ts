// /admin/v1/clients: register, read, change, remove, disable clients. Their secrets: secret-routes.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { notFound } from '../errors.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { clientIdField, instant, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { type Client, clientMetadataSchema, clientPatchSchema } from './client.ts';
import type { Clients } from './clients.ts';
import { type IdleClient, listIdleClients } from './registration/idle-clients.ts';
import { assertAnotherClient } from './self-lockout.ts';
import { findClient, listClients } from './store.ts';

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

const revokedSchema = z
  .object({
    access_tokens: z.int().meta({ description: 'opaque ones; JWTs have no row and are void by tokens_not_before' }),
    refresh_tokens: z.int(),
    authorization_codes: z.int(),
    grants: z.int(),
    tokens_not_before: instant.meta({ description: 'every token issued before this instant is void' }),
  })
  .meta({ id: 'RevokedClientTokens' });

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
  .meta({ description: 'without a token for so many days; 30 if left out' });

const clientParams = z.strictObject({ client_id: clientIdField });
const tag = 'clients';

export function clientRoutes(deps: { query: Query; clients: Clients }): ApiRoute[] {
  const { query, clients } = deps;

  async function getClient(clientId: string): Promise<Client> {
    const client = await findClient(query, clientId);
    if (client === undefined) throw notFound(`client ${clientId}`);
    return client;
  }

  return [
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
        const { client, secret } = await clients.create(chosenId, metadata as Client['metadata'], by);
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
    }),

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
    }),

    apiRoute({
      operationId: 'getClient',
      method: 'get',
      path: '/clients/{client_id}',
      tag,
      scope: 'admin:read',
      summary: 'Read a client',
      params: clientParams,
      answers: { 200: { description: 'The client', schema: clientSchema } },
      handle: async ({ params }) => answer(await getClient(params.client_id)),
    }),

    apiRoute({
      operationId: 'changeClient',
      method: 'patch',
      path: '/clients/{client_id}',
      tag,
      scope: 'admin:write',
      summary: 'Change members of a client; null takes one away',
      params: clientParams,
      body: clientPatchSchema,
      answers: { 200: { description: 'The changed client', schema: clientSchema } },
      handle: async ({ params, body, ifVersion, by }) =>
        answer(await clients.change(params.client_id, body, ifVersion, by)),
    }),

    apiRoute({
      operationId: 'removeClient',
      method: 'delete',
      path: '/clients/{client_id}',
      tag,
      scope: 'admin:write',
      summary: 'Remove a client with its secrets, grants and tokens',
      params: clientParams,
      answers: { 204: { description: 'Removed' } },
      async handle({ params, ifVersion, by, callerClientId }) {
        assertAnotherClient(callerClientId, params.client_id);
        await clients.remove(params.client_id, ifVersion, by);
        return { status: 204 };
      },
    }),

    ...(['disable', 'enable'] as const).map((action) =>
      apiRoute({
        operationId: `${action}Client`,
        method: 'post',
        path: `/clients/{client_id}/${action}`,
        tag,
        scope: 'admin:write',
        summary:
          action === 'disable'
            ? 'Refuse the client everywhere; its tokens turn inactive at once'
            : 'Let a disabled client work again, with the tokens that have not expired',
        params: clientParams,
        answers: { 200: { description: 'The client', schema: clientSchema } },
        async handle({ params, ifVersion, by, callerClientId }) {
          if (action === 'disable') assertAnotherClient(callerClientId, params.client_id);
          return answer(await clients.setDisabled(params.client_id, action === 'disable', ifVersion, by));
        },
      }),
    ),

    apiRoute({
      operationId: 'listIdleClients',
      method: 'get',
      path: '/idle-clients',
      tag,
      scope: 'admin:read',
      summary: 'Software that registered itself and got no token for so many days: what the removal would take',
      query: z.strictObject({ ...pageQuery, days: daysField.optional() }),
      answers: { 200: { description: 'A page of clients', schema: pageSchema(idleClientSchema) } },
      async handle({ query: filter }) {
        const page = toPageRequest(filter);
        const found = await listIdleClients(query, filter.days ?? 30, page);
        return { status: 200, body: toPage(found, page.limit, idleToWire, (client) => client.clientId) };
      },
    }),

    apiRoute({
      operationId: 'revokeClientTokens',
      method: 'post',
      path: '/clients/{client_id}/revoke-tokens',
      tag,
      scope: 'admin:write',
      summary: 'Revoke every token, refresh token, code, grant and remembered consent of a client, JWTs included',
      params: clientParams,
      answers: { 200: { description: 'How many of each kind were removed', schema: revokedSchema } },
      async handle({ params, by }) {
        const revoked = await clients.revokeTokens(params.client_id, by);
        return {
          status: 200,
          body: {
            access_tokens: revoked.accessTokens,
            refresh_tokens: revoked.refreshTokens,
            authorization_codes: revoked.authorizationCodes,
            grants: revoked.grants,
            tokens_not_before: revoked.notBefore.toISOString(),
          },
        };
      },
    }),
  ];
}

function answer(client: Client) {
  return { status: 200, version: client.version, body: toWire(client) };
}

function toWire(client: Client) {
  return {
    client_id: client.clientId,
    client_id_issued_at: Math.floor(client.createdAt.getTime() / 1000),
    ...client.metadata,
    registered_by: client.registeredBy,
    disabled: client.disabledAt !== undefined,
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
