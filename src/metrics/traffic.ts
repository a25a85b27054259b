// Metrics of requests and their results: tokens, introspections, refusals, logins, logouts. They
// are updated while a request is answered, so the labels of requests are looked up once.

import { Histogram, type Registry } from 'prom-client';
import { createClientLabels, OTHER } from './client-labels.ts';
import {
  closedList,
  ENDPOINT_LABELS,
  type EndpointLabel,
  GRANT_TYPES,
  REFUSAL_REASONS,
  TOKEN_KINDS,
} from './closed-lists.ts';
import { ENDPOINTS, type Endpoint } from './endpoints.ts';
import { counter } from './instruments.ts';

/** From an introspection out of memory to the usual timeout of a proxy. */
const LATENCY_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const STATUS_CLASSES = ['aborted', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** By the engine's model name. */
const KINDS: Readonly<Record<string, string>> = {
  AccessToken: 'access_token',
  ClientCredentials: 'access_token',
  RefreshToken: 'refresh_token',
};
const REPLAYED: Readonly<Record<string, string>> = {
  AuthorizationCode: 'authorization_code',
  RefreshToken: 'refresh_token',
  DeviceCode: 'device_code',
};

/** The members of the engine's token models that become labels. */
export interface CountedToken {
  readonly kind: string;
  readonly format?: string | undefined;
  readonly clientId?: string | undefined;
  /** the grant types that led to this token, the latest last: `authorization_code refresh_token` */
  readonly gty?: string | undefined;
}

/**
 * - `active`
 * - `unknown`: there is no such token, or it has expired or was revoked
 * - `inactive`: its client or user was disabled or its policy row removed
 * - `not_permitted`: the caller may not introspect it
 */
export type IntrospectionOutcome = (typeof INTROSPECTION_OUTCOMES)[number];
const INTROSPECTION_OUTCOMES = ['active', 'unknown', 'inactive', 'not_permitted'] as const;

export type LoginOutcome = 'signed in' | 'wrong' | 'throttled';
const LOGIN_OUTCOMES: Readonly<Record<LoginOutcome, string>> = {
  'signed in': 'succeeded',
  wrong: 'failed',
  throttled: 'throttled',
};

export type LogoutNoticeOutcome = 'delivered' | 'failed' | 'given up';
const LOGOUT_NOTICE_OUTCOMES: Readonly<Record<LogoutNoticeOutcome, string>> = {
  delivered: 'delivered',
  failed: 'failed',
  'given up': 'given_up',
};

export interface TrafficMetrics {
  /** After the response was sent. @param statusCode 0: the connection closed before that */
  observeRequest(endpoint: Endpoint, statusCode: number, seconds: number): void;
  tokenIssued(token: CountedToken): void;
  tokenRevoked(token: CountedToken): void;
  /** @param what the grant type, or the engine's model name of the replayed token */
  tokenReplayed(what: unknown): void;
  refreshTokenReused(): void;
  introspected(outcome: IntrospectionOutcome): void;
  /** @param reason the OAuth error code, or the code of the guard */
  refused(endpoint: EndpointLabel, reason: string): void;
  loginAttempted(outcome: LoginOutcome): void;
  logoutNoticeSent(outcome: LogoutNoticeOutcome): void;
}

export function createTrafficMetrics(registry: Registry): TrafficMetrics {
  const requests = new Histogram({
    name: 'lanyard_http_request_duration_seconds',
    help: 'Time from the arrival of a request to the end of its response.',
    labelNames: ['endpoint', 'status'],
    buckets: LATENCY_BUCKETS_SECONDS,
    registers: [registry],
  });
  const { issued, revoked, replays, reuses, introspections, refusals, logins, logoutNotices } =
    createCounters(registry);
  const kindOf = closedList(TOKEN_KINDS);
  const grantTypeOf = closedList(GRANT_TYPES);
  const endpointLabelOf = closedList(ENDPOINT_LABELS);
  const reasonOf = closedList(REFUSAL_REASONS);
  const clientLabel = createClientLabels();
  const observers = createObservers(requests);

  return {
    observeRequest(endpoint, statusCode, seconds) {
      const index = statusCode >= 100 && statusCode < 600 ? Math.floor(statusCode / 100) : 0;
      (observers.get(endpoint) ?? observers.get('other'))?.[index]?.(seconds);
    },
    tokenIssued(token) {
      issued.inc({
        kind: kindOf(KINDS[token.kind]),
        format: formatOf(token),
        grant_type: grantTypeOf(grantOf(token)),
        client_id: token.clientId === undefined ? OTHER : clientLabel(token.clientId),
      });
    },
    tokenRevoked: (token) => revoked.inc({ kind: kindOf(KINDS[token.kind]), format: formatOf(token) }),
    tokenReplayed: (what) => replays.inc({ grant_type: grantTypeOf(REPLAYED[String(what)] ?? String(what)) }),
    refreshTokenReused: () => reuses.inc(),
    introspected: (outcome) => introspections.inc({ outcome }),
    refused: (endpoint, reason) => refusals.inc({ endpoint: endpointLabelOf(endpoint), reason: reasonOf(reason) }),
    loginAttempted: (outcome) => logins.inc({ outcome: LOGIN_OUTCOMES[outcome] }),
    logoutNoticeSent: (outcome) => logoutNotices.inc({ outcome: LOGOUT_NOTICE_OUTCOMES[outcome] }),
  };
}

function createCounters(registry: Registry) {
  const issued = counter(
    registry,
    'lanyard_tokens_issued_total',
    'Tokens issued. Small clients share the client_id "other".',
    ['kind', 'format', 'grant_type', 'client_id'],
  );
  const revoked = counter(registry, 'lanyard_tokens_revoked_total', 'Tokens revoked by their client.', [
    'kind',
    'format',
  ]);
  const replays = counter(
    registry,
    'lanyard_token_replays_total',
    'Authorization codes and refresh tokens used a second time; the grant is revoked.',
    ['grant_type'],
  );
  const reuses = counter(
    registry,
    'lanyard_refresh_token_reuses_total',
    'Refresh tokens used again within their grace; they gave tokens.',
  );
  const introspections = counter(
    registry,
    'lanyard_introspections_total',
    'Introspection responses. The caller sees no difference between the outcomes other than "active".',
    ['outcome'],
  );
  const refusals = counter(registry, 'lanyard_refusals_total', 'Requests refused, by error code.', [
    'endpoint',
    'reason',
  ]);
  const logins = counter(registry, 'lanyard_logins_total', 'Attempts to sign in with a password.', ['outcome']);
  const logoutNotices = counter(
    registry,
    'lanyard_logout_notices_total',
    'Back-channel logout requests sent to apps.',
    ['outcome'],
  );
  // rate() sees the first event only in a series that exists before it, with the value 0.
  for (const outcome of INTROSPECTION_OUTCOMES) introspections.inc({ outcome }, 0);
  for (const outcome of Object.values(LOGIN_OUTCOMES)) logins.inc({ outcome }, 0);
  for (const outcome of Object.values(LOGOUT_NOTICE_OUTCOMES)) logoutNotices.inc({ outcome }, 0);
  for (const grantType of Object.values(REPLAYED)) replays.inc({ grant_type: grantType }, 0);
  return { issued, revoked, replays, reuses, introspections, refusals, logins, logoutNotices };
}

/** The engine sets `gty` for grants of users only. */
function grantOf({ kind, gty }: CountedToken): string | undefined {
  return kind === 'ClientCredentials' ? 'client_credentials' : gty?.split(' ').at(-1);
}

function formatOf(token: CountedToken): string {
  return token.format === 'jwt' ? 'jwt' : 'opaque';
}

/** Looks up the labels once. A series appears with its first request. */
function createObservers(requests: Histogram<'endpoint' | 'status'>): Map<Endpoint, ((seconds: number) => void)[]> {
  return new Map(
    ENDPOINTS.map((endpoint) => [
      endpoint,
      STATUS_CLASSES.map((status) => {
        const { observe } = requests.labels({ endpoint, status });
        return observe;
      }),
    ]),
  );
}
