// The audit log: one row per event, insert only; pruning/ deletes rows after the retention period.
// This folder owns the event types and the admin route that lists them. A change and its event are
// written with the `Query` of one transaction, so that neither exists without the other. A detail
// never contains a secret, a token or a password.

import type { Query } from '../database/database.ts';

/** The closed list of types, as `<noun>.<past participle>`. */
export const AUDIT_EVENT_TYPES = [
  'client.created',
  'client.changed',
  'client.removed',
  'client.disabled',
  'client.enabled',
  'client.tokens_revoked',
  'client.idle_removed',
  'initial_access_token.created',
  'initial_access_token.removed',
  'client.authentication_failed',
  'client_secret.created',
  'client_secret.removed',
  'resource_server.created',
  'resource_server.changed',
  'resource_server.removed',
  'resource_server.scopes_reserved',
  'client_grant.set',
  'client_grant.removed',
  'user.created',
  'user.changed',
  'user.disabled',
  'user.enabled',
  'user.tokens_revoked',
  'login.succeeded',
  'login.failed',
  'login.throttled',
  'consent.granted',
  'consent.denied',
  'device.authorized',
  'device.denied',
  'logout.completed',
  'logout_notice.delivered',
  'logout_notice.given_up',
  'session.ended',
  'token.issued',
  'token.revoked',
  'token.exchanged',
  'token.replayed',
  'refresh_token.reused_in_grace',
  'signing_key.created',
  'signing_key.published',
  'signing_key.removed',
  'secret_key.changed',
  'storage.pruned',
] as const;

export type AuditEventType = (typeof AUDIT_EVENT_TYPES)[number];

export interface AuditEvent {
  readonly type: AuditEventType;
  /** `client:<id>`, `user:<id>` or `system` */
  readonly actor: string;
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly requestId?: string | undefined;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** The actor of a change, and the request that it came with. */
export interface ChangedBy {
  readonly actor: string;
  readonly requestId?: string | undefined;
}

/** In the order of `auditValues`; for statements that insert events together with other rows. */
export const AUDIT_COLUMNS = {
  type: 'text',
  actor: 'text',
  client_id: 'text',
  account_id: 'text',
  request_id: 'text',
  detail: 'jsonb',
} as const;

const INSERT = {
  name: 'audit_insert',
  text: `INSERT INTO audit_events (${Object.keys(AUDIT_COLUMNS).join(', ')}) VALUES ($1, $2, $3, $4, $5, $6)`,
};

export function auditValues(event: AuditEvent): (string | null)[] {
  return [
    event.type,
    event.actor,
    event.clientId ?? null,
    event.accountId ?? null,
    event.requestId ?? null,
    JSON.stringify(event.detail ?? {}),
  ];
}

export async function recordAudit(query: Query, event: AuditEvent): Promise<void> {
  await query(INSERT, auditValues(event));
}
