// /admin/v1/initial-access-tokens: with such a token, clients are registered without an operator
// (RFC 7591 §3).

import { z } from 'zod';
import type { Database } from '../../database/database.ts';
import { type ApiRoute, apiRoute } from '../../http/api-route.ts';
import { instant, text } from '../../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../../http/pagination.ts';
import {
  createInitialAccessToken,
  type InitialAccessToken,
  listInitialAccessTokens,
  removeInitialAccessToken,
} from './initial-access-tokens.ts';

const allowed = z
  .strictObject({
    grant_types: z.array(text(100), 'must be a list').max(20).optional(),
    redirect_hosts: z.array(text(253), 'must be a list').max(50).optional().meta({
      description: 'the hosts of redirect_uris and post_logout_redirect_uris, each with its port if it has one',
    }),
  })
  .meta({
    description:
      'what the registered client may have, now and after later changes; a member that is left out sets no limit',
  });

const tokenSchema = z
  .object({
    id: z.string(),
    note: z.string(),
    max_uses: z.int(),
    uses: z.int(),
    allowed,
    require_pkce: z.boolean(),
    expires_at: instant,
    created_at: instant,
  })
  .meta({ id: 'InitialAccessToken' });

const createBody = z.strictObject({
  note: z.string('must be text').max(200, 'must have 200 characters at most').optional(),
  max_uses: z.int('must be a whole number').min(1, 'must be positive').max(10_000, 'must be 10000 at most').optional(),
  expires_in_seconds: z
    .int('must be a whole number')
    .min(1, 'must be positive')
    .max(365 * 86_400, 'must be one year at most')
    .optional()
    .meta({ description: 'one day if left out' }),
  allowed: allowed.optional(),
  require_pkce: z.boolean('must be true or false').optional().meta({
    description:
      'what the confidential clients that register with it get as require_pkce, unless they ask for true; true if left out',
  }),
});

const tag = 'initial access tokens';

export interface InitialAccessRoutesDeps {
  readonly database: Database;
}

export function initialAccessRoutes(deps: InitialAccessRoutesDeps): ApiRoute[] {
  return [createRoute, listRoute, removeRoute].map((route) => route(deps));
}

const createRoute = ({ database }: InitialAccessRoutesDeps) =>
  apiRoute({
    operationId: 'createInitialAccessToken',
    method: 'post',
    path: '/initial-access-tokens',
    tag,
    scope: 'admin:write',
    summary: 'Create a token with which clients can be registered',
    body: createBody,
    answers: {
      201: {
        description: 'The token, shown in this answer only',
        schema: tokenSchema.extend({ token: z.string() }).meta({ id: 'CreatedInitialAccessToken' }),
      },
    },
    async handle({ body, by }) {
      const input = {
        note: body.note ?? '',
        maxUses: body.max_uses ?? 1,
        expiresInSeconds: body.expires_in_seconds ?? 86_400,
        allowed: body.allowed ?? {},
        requirePkce: body.require_pkce ?? true,
      };
      const { token, row } = await createInitialAccessToken(database, input, by);
      return { status: 201, body: { ...toWire(row), token } };
    },
  });

const listRoute = ({ database }: InitialAccessRoutesDeps) =>
  apiRoute({
    operationId: 'listInitialAccessTokens',
    method: 'get',
    path: '/initial-access-tokens',
    tag,
    scope: 'admin:read',
    summary: 'List initial access tokens',
    query: z.strictObject(pageQuery),
    answers: { 200: { description: 'A page of tokens', schema: pageSchema(tokenSchema) } },
    async handle({ query: filter }) {
      const page = toPageRequest(filter);
      const found = await listInitialAccessTokens(database.query, page);
      return { status: 200, body: toPage(found, page.limit, toWire, ({ id }) => id) };
    },
  });

const removeRoute = ({ database }: InitialAccessRoutesDeps) =>
  apiRoute({
    operationId: 'removeInitialAccessToken',
    method: 'delete',
    path: '/initial-access-tokens/{id}',
    tag,
    scope: 'admin:write',
    summary: 'Remove an initial access token; the clients registered with it remain',
    params: z.strictObject({ id: text(100) }),
    answers: { 204: { description: 'Removed' } },
    async handle({ params, by }) {
      await removeInitialAccessToken(database, params.id, by);
      return { status: 204 };
    },
  });

function toWire(token: InitialAccessToken) {
  return {
    id: token.id,
    note: token.note,
    max_uses: token.maxUses,
    uses: token.uses,
    allowed: token.allowed,
    require_pkce: token.requirePkce,
    expires_at: token.expiresAt.toISOString(),
    created_at: token.createdAt.toISOString(),
  };
}
