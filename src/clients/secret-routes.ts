// /admin/v1/clients/{client_id}/secrets: rotate with an overlap, import, list, remove.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { clientIdField, instant, text } from '../http/fields.ts';
import { pageSchema } from '../http/pagination.ts';
import type { Clients } from './clients.ts';
import { getClient, listSecrets, type SecretInfo } from './store.ts';

const secretSchema = z
  .object({
    id: z.string(),
    created_at: instant,
    expires_at: instant.nullable(),
    last_used_at: instant.nullable(),
  })
  .meta({ id: 'ClientSecret' });

const createdSecretSchema = z
  .object({
    id: z.string(),
    created_at: instant,
    client_secret: z.string().optional().meta({ description: 'shown in this answer only; absent if it was imported' }),
  })
  .meta({ id: 'CreatedClientSecret' });

const newSecretBody = z.strictObject({
  overlap_seconds: z
    .int('must be a whole number')
    .min(0, 'must not be negative')
    .max(90 * 86_400, 'must be 90 days at most')
    .optional()
    .meta({ description: 'how long the present secrets stay valid; 0, the default: they become invalid at once' }),
  secret: text(256)
    .min(16, 'must have 16 characters or more')
    .regex(/^[\x20-\x7e]+$/, 'must be printable ASCII')
    .optional()
    .meta({ description: 'import this secret instead of generating one' }),
});

const clientParams = z.strictObject({ client_id: clientIdField });
const secretParams = z.strictObject({ client_id: clientIdField, secret_id: text(64) });
const tag = 'clients';

export interface ClientSecretRoutesDeps {
  readonly query: Query;
  readonly clients: Clients;
}

export function clientSecretRoutes(deps: ClientSecretRoutesDeps): ApiRoute[] {
  return [createRoute, listRoute, removeRoute].map((route) => route(deps));
}

const createRoute = ({ clients }: ClientSecretRoutesDeps) =>
  apiRoute({
    operationId: 'createClientSecret',
    method: 'post',
    path: '/clients/{client_id}/secrets',
    tag,
    scope: 'admin:write',
    summary: 'Rotate the secret: generate or import a new one',
    params: clientParams,
    body: newSecretBody,
    answers: { 201: { description: 'The new secret', schema: createdSecretSchema } },
    async handle({ params, body, by }) {
      const input = { overlapSeconds: body.overlap_seconds ?? 0, secret: body.secret };
      const { id, createdAt, secret } = await clients.addSecret(params.client_id, input, by);
      return {
        status: 201,
        location: `/admin/v1/clients/${encodeURIComponent(params.client_id)}/secrets/${id}`,
        body: {
          id,
          created_at: createdAt.toISOString(),
          ...(secret === undefined ? {} : { client_secret: secret }),
        },
      };
    },
  });

const listRoute = ({ query }: ClientSecretRoutesDeps) =>
  apiRoute({
    operationId: 'listClientSecrets',
    method: 'get',
    path: '/clients/{client_id}/secrets',
    tag,
    scope: 'admin:read',
    summary: 'List the valid secrets, newest first, without their values or hashes',
    params: clientParams,
    answers: { 200: { description: 'The secrets', schema: pageSchema(secretSchema) } },
    async handle({ params }) {
      const { clientId } = await getClient(query, params.client_id);
      const secrets = await listSecrets(query, clientId);
      return { status: 200, body: { items: secrets.map(secretToWire), next_cursor: null } };
    },
  });

const removeRoute = ({ clients }: ClientSecretRoutesDeps) =>
  apiRoute({
    operationId: 'removeClientSecret',
    method: 'delete',
    path: '/clients/{client_id}/secrets/{secret_id}',
    tag,
    scope: 'admin:write',
    summary: 'Remove a secret; it becomes invalid at once',
    params: secretParams,
    answers: { 204: { description: 'Removed' } },
    async handle({ params, by }) {
      await clients.removeSecret(params.client_id, params.secret_id, by);
      return { status: 204 };
    },
  });

function secretToWire(secret: SecretInfo) {
  return {
    id: secret.id,
    created_at: secret.createdAt.toISOString(),
    expires_at: secret.expiresAt?.toISOString() ?? null,
    last_used_at: secret.lastUsedAt?.toISOString() ?? null,
  };
}
