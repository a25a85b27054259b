// /admin/v1/users/{user_id}/sessions: the browser sessions of a user, to be listed and ended.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { notFound } from '../errors.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { instant, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import type { Sessions, UserSession } from '../provider/logout/sessions.ts';
import { getUser } from '../users/store.ts';

const sessionSchema = z
  .object({
    id: z.string(),
    signed_in_at: instant,
    expires_at: instant,
    acr: z.string().nullable(),
    amr: z.array(z.string()),
    client_ids: z.array(z.string()).meta({ description: 'the clients that the user has signed in to with it' }),
  })
  .meta({ id: 'Session' });

const tag = 'users';

export interface SessionRoutesDeps {
  readonly query: Query;
  readonly sessions: Sessions;
}

export function sessionRoutes(deps: SessionRoutesDeps): ApiRoute[] {
  return [listRoute, endRoute].map((route) => route(deps));
}

const listRoute = ({ query, sessions }: SessionRoutesDeps) =>
  apiRoute({
    operationId: 'listUserSessions',
    method: 'get',
    path: '/users/{user_id}/sessions',
    tag,
    scope: 'admin:read',
    summary: 'List the browser sessions of a user',
    params: z.strictObject({ user_id: text(64) }),
    query: z.strictObject(pageQuery),
    answers: { 200: { description: 'A page of sessions', schema: pageSchema(sessionSchema) } },
    async handle({ params, query: filter }) {
      const { id: userId } = await getUser(query, params.user_id);
      const page = toPageRequest(filter);
      const found = await sessions.list(userId, page);
      return { status: 200, body: toPage(found, page.limit, toWire, ({ id }) => id) };
    },
  });

const endRoute = ({ sessions }: SessionRoutesDeps) =>
  apiRoute({
    operationId: 'endUserSession',
    method: 'delete',
    path: '/users/{user_id}/sessions/{session_id}',
    tag,
    scope: 'admin:write',
    summary: 'End a session and its tokens; clients with a backchannel_logout_uri are told',
    params: z.strictObject({ user_id: text(64), session_id: text(100) }),
    answers: { 204: { description: 'Ended' } },
    async handle({ params, by }) {
      const isEnded = await sessions.end(params.user_id, params.session_id, by);
      if (!isEnded) throw notFound(`session ${params.session_id} of user ${params.user_id}`);
      return { status: 204 };
    },
  });

function toWire(session: UserSession) {
  return {
    id: session.id,
    signed_in_at: session.signedInAt.toISOString(),
    expires_at: session.expiresAt.toISOString(),
    acr: session.acr ?? null,
    amr: [...session.amr],
    client_ids: [...session.clientIds],
  };
}
