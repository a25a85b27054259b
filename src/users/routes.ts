// /admin/v1/users

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { notFound } from '../errors.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { instant, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from './password.ts';
import { findUser, listUsers } from './store.ts';
import { type User, userClaimsSchema } from './user.ts';
import type { Users } from './users.ts';

const username = text(100).refine((value) => value.trim() === value, 'must not begin or end with white space');
const email = text(254).regex(/^[^\s@]+@[^\s@]+$/, 'must be an email address');
const password = z
  .string('must be text')
  .min(MIN_PASSWORD_LENGTH, `must have ${MIN_PASSWORD_LENGTH} characters or more`)
  .max(MAX_PASSWORD_LENGTH, `must have ${MAX_PASSWORD_LENGTH} characters at most`);

const userSchema = z
  .object({
    id: z.string().meta({ description: 'the sub of the tokens' }),
    username: z.string(),
    email: z.string().nullable(),
    claims: userClaimsSchema,
    disabled: z.boolean(),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'User' });

const revokedSchema = z
  .object({
    access_tokens: z.int(),
    refresh_tokens: z.int(),
    authorization_codes: z.int(),
    grants: z.int(),
    sessions: z.int(),
    tokens_not_before: instant.meta({ description: 'every token issued before this instant is void' }),
  })
  .meta({ id: 'RevokedUserTokens' });

const params = z.strictObject({ user_id: text(64) });
const tag = 'users';

export function userRoutes(deps: { query: Query; users: Users }): ApiRoute[] {
  const { query, users } = deps;
  return [
    apiRoute({
      operationId: 'createUser',
      method: 'post',
      path: '/users',
      tag,
      scope: 'admin:write',
      summary: 'Create a user',
      body: z.strictObject({
        username,
        password,
        email: email.optional(),
        claims: userClaimsSchema.optional(),
      }),
      answers: { 201: { description: 'The user', schema: userSchema } },
      async handle({ body, by }) {
        const user = await users.create({ ...body, email: body.email, claims: body.claims ?? {} }, by);
        return { ...answer(user), status: 201, location: `/admin/v1/users/${user.id}` };
      },
    }),
    apiRoute({
      operationId: 'listUsers',
      method: 'get',
      path: '/users',
      tag,
      scope: 'admin:read',
      summary: 'List users',
      query: z.strictObject({ ...pageQuery, q: text(200).optional() }),
      answers: { 200: { description: 'A page of users', schema: pageSchema(userSchema) } },
      async handle({ query: filter }) {
        const page = toPageRequest(filter);
        const found = await listUsers(query, { ...page, search: filter.q });
        return { status: 200, body: toPage(found, page.limit, toWire, (user) => user.id) };
      },
    }),
    apiRoute({
      operationId: 'getUser',
      method: 'get',
      path: '/users/{user_id}',
      tag,
      scope: 'admin:read',
      summary: 'Read a user',
      params,
      answers: { 200: { description: 'The user', schema: userSchema } },
      async handle({ params: { user_id: userId } }) {
        const user = await findUser(query, userId);
        if (user === undefined) throw notFound(`user ${userId}`);
        return answer(user);
      },
    }),
    apiRoute({
      operationId: 'changeUser',
      method: 'patch',
      path: '/users/{user_id}',
      tag,
      scope: 'admin:write',
      summary: 'Change a user; a new password ends all sessions and tokens',
      params,
      body: z.strictObject({
        password: password.optional(),
        email: email.nullable().optional(),
        claims: userClaimsSchema.optional().meta({ description: 'replaces all claims' }),
      }),
      answers: { 200: { description: 'The changed user', schema: userSchema } },
      handle: async ({ params: { user_id: userId }, body, ifVersion, by }) =>
        answer(await users.change(userId, body, ifVersion, by)),
    }),
    ...(['disable', 'enable'] as const).map((action) =>
      apiRoute({
        operationId: `${action}User`,
        method: 'post',
        path: `/users/{user_id}/${action}`,
        tag,
        scope: 'admin:write',
        summary:
          action === 'disable'
            ? 'Refuse the user everywhere; tokens turn inactive at once'
            : 'Let a disabled user sign in again',
        params,
        answers: { 200: { description: 'The user', schema: userSchema } },
        handle: async ({ params: { user_id: userId }, ifVersion, by }) =>
          answer(await users.setDisabled(userId, action === 'disable', ifVersion, by)),
      }),
    ),
    apiRoute({
      operationId: 'revokeUserTokens',
      method: 'post',
      path: '/users/{user_id}/revoke-tokens',
      tag,
      scope: 'admin:write',
      summary: 'Revoke every token, grant, session and remembered consent of a user, JWTs included',
      params,
      answers: { 200: { description: 'How many of each kind were removed', schema: revokedSchema } },
      async handle({ params: { user_id: userId }, by }) {
        const revoked = await users.revokeTokens(userId, by);
        return {
          status: 200,
          body: {
            access_tokens: revoked.accessTokens,
            refresh_tokens: revoked.refreshTokens,
            authorization_codes: revoked.authorizationCodes,
            grants: revoked.grants,
            sessions: revoked.sessions,
            tokens_not_before: revoked.notBefore.toISOString(),
          },
        };
      },
    }),
  ];
}

function answer(user: User) {
  return { status: 200, version: user.version, body: toWire(user) };
}

function toWire(user: User) {
  return {
    id: user.id,
    username: user.username,
    email: user.email ?? null,
    claims: user.claims,
    disabled: user.disabledAt !== undefined,
    created_at: user.createdAt.toISOString(),
    updated_at: user.updatedAt.toISOString(),
  };
}
