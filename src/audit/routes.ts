// GET /admin/v1/audit-events

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { AppError } from '../errors.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { instant, instantParameter, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { AUDIT_EVENT_TYPES } from './audit.ts';
import { listAuditEvents, type StoredAuditEvent } from './store.ts';

const auditEventSchema = z
  .object({
    id: z.string(),
    at: instant,
    type: z.enum(AUDIT_EVENT_TYPES),
    actor: z.string().meta({ description: 'client:<client_id>, user:<id> or system' }),
    client_id: z.string().nullable(),
    user_id: z.string().nullable(),
    request_id: z.string().nullable(),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'AuditEvent' });

const listQuery = z.strictObject({
  ...pageQuery,
  type: z.enum(AUDIT_EVENT_TYPES).optional(),
  actor: text(300).optional(),
  client_id: text(255).optional(),
  user_id: text(255).optional(),
  since: instantParameter.optional(),
  until: instantParameter.optional(),
});

export function auditRoutes(deps: { query: Query }): ApiRoute[] {
  return [
    apiRoute({
      operationId: 'listAuditEvents',
      method: 'get',
      path: '/audit-events',
      tag: 'audit events',
      scope: 'admin:read',
      summary: 'List the audit events, newest first',
      query: listQuery,
      answers: { 200: { description: 'A page of events', schema: pageSchema(auditEventSchema) } },
      async handle({ query: filter }) {
        const page = toPageRequest(filter);
        if (page.after !== undefined && !/^\d{1,18}$/.test(page.after)) {
          throw new AppError('invalid_cursor', 'use next_cursor unchanged');
        }
        const events = await listAuditEvents(
          deps.query,
          { ...filter, clientId: filter.client_id, accountId: filter.user_id },
          { limit: page.limit, beforeId: page.after },
        );
        return { status: 200, body: toPage(events, page.limit, toWire, (event) => event.id) };
      },
    }),
  ];
}

function toWire(event: StoredAuditEvent) {
  return {
    id: event.id,
    at: event.at.toISOString(),
    type: event.type,
    actor: event.actor,
    client_id: event.clientId,
    user_id: event.accountId,
    request_id: event.requestId,
    detail: event.detail,
  };
}
