// /admin/v1/users: create, read, change and disable users. Their sessions: admin/session-routes.ts.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { accessRoutes } from '../http/access-routes.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { instant, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { MAX_PASSWORD_LENGTH, MIN_PASSWORD_LENGTH } from './password.ts';
import { getUser, listUsers } from './store.ts';
import { USERNAME_PROBLEMS, type User, userClaimsSchema } from './user.ts';
import { MAX_USERNAME_LENGTH } from './username.ts';
import type { Users } from './users.ts';

const username = text(MAX_USERNAME_LENGTH).meta({
  description: 'RFC 8265 §3; other cases and widths are the same name',
});
const email = text(254).regex(/^[^\s@]+@[^\s@]+$/, 'must be an email address');
const password = z
  .string('must be text')
  .min(MIN_PASSWORD_LENGTH, `must have ${MIN_PASSWORD_LENGTH} characters or more`)
  .max(MAX_PASSWORD_LENGTH, `must have ${MAX_PASSWORD_LENGTH} characters at most`);

const userSchema = z
  .object({
    id: z.string().meta({ description: 'the sub of the tokens' }),
    username: z.string(),
    username_problem: z
      .enum(USERNAME_PROBLEMS)
      .nullable()
      .meta({ description: 'the user can sign in with the name exactly as it is here only' }),
    email: z.string().nullable(),
    claims: userClaimsSchema,
    disabled: z.boolean(),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'User' });

const params = z.strictObject({ user_id: text(64) });
const tag = 'users';
const PATH = '/users/{user_id}';

export interface UserRoutesDeps {
  readonly query: Query;
  readonly users: Users;
}

export function userRoutes(deps: UserRoutesDeps): ApiRoute[] {
  const routes = [createRoute, listRoute, getRoute, changeRoute];
  return [...routes.map((route) => route(deps)), ...accessOf(deps)];
}

const createRoute = ({ users }: UserRoutesDeps) =>
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
  });

const listRoute = ({ query }: UserRoutesDeps) =>
  apiRoute({
    operationId: 'listUsers',
    method: 'get',
    path: '/users',
    tag,
    scope: 'admin:read',
    summary: 'List users',
    query: z.strictObject({
      ...pageQuery,
      q: text(200).optional().meta({ description: 'part of a username or email address' }),
      username_problem: z
        .enum(USERNAME_PROBLEMS)
        .optional()
        .meta({ description: 'whose name PRECIS refuses, or is equal to that of another' }),
    }),
    answers: { 200: { description: 'A page of users', schema: pageSchema(userSchema) } },
    async handle({ query: filter }) {
      const page = toPageRequest(filter);
      const found = await listUsers(query, {
        ...page,
        search: filter.q,
        usernameProblem: filter.username_problem,
      });
      return { status: 200, body: toPage(found, page.limit, toWire, (user) => user.id) };
    },
  });

const getRoute = ({ query }: UserRoutesDeps) =>
  apiRoute({
    operationId: 'getUser',
    method: 'get',
    path: PATH,
    tag,
    scope: 'admin:read',
    summary: 'Read a user',
    params,
    answers: { 200: { description: 'The user', schema: userSchema } },
    handle: async ({ params: { user_id: userId } }) => answer(await getUser(query, userId)),
  });

const changeRoute = ({ users }: UserRoutesDeps) =>
  apiRoute({
    operationId: 'changeUser',
    method: 'patch',
    path: PATH,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Change a user; a new password ends all sessions and tokens',
    params,
    body: z.strictObject({
      username: username.optional(),
      password: password.optional(),
      email: email.nullable().optional(),
      claims: userClaimsSchema.optional().meta({ description: 'replaces all claims' }),
    }),
    answers: { 200: { description: 'The changed user', schema: userSchema } },
    handle: async ({ params: { user_id: userId }, body, ifVersion, by }) =>
      answer(await users.change(userId, body, ifVersion, by)),
  });

const accessOf = ({ users }: UserRoutesDeps) =>
  accessRoutes({
    name: 'User',
    path: PATH,
    tag,
    params,
    idOf: ({ user_id: userId }) => userId,
    summaries: {
      disable: 'Refuse the user everywhere; ends all sessions and tokens, for good',
      enable: 'Let a disabled user sign in again; brings no session or token back',
      revoke: 'Revoke every token, grant, session and remembered consent of a user, JWTs included',
    },
    schema: userSchema,
    hasSessions: true,
    answer,
    holders: users,
  });

function answer(user: User) {
  return { status: 200, version: user.version, body: toWire(user) };
}

function toWire(user: User) {
  return {
    id: user.id,
    username: user.username,
    username_problem: user.usernameProblem ?? null,
    email: user.email ?? null,
    claims: user.claims,
    disabled: user.isDisabled,
    created_at: user.createdAt.toISOString(),
    updated_at: user.updatedAt.toISOString(),
  };
}
