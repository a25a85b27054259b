// What callers of Lanyard ask for and get: requests, tokens, introspections, refusals, logins. These functions are called
// while a request is being answered, so each costs about a microsecond: the series are found once and kept.

import { Counter, Histogram, type Registry } from 'prom-client';
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

/** Half a millisecond is an introspection from memory; ten seconds is when a proxy gives up. */
const LATENCY_BUCKETS_SECONDS = [
  0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
];
const STATUS_CLASSES = ['aborted', '1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** The engine's names of its models. */
const KINDS: Readonly<Record<string, string>> = {
  AccessToken: 'access_token',
  ClientCredentials: 'access_token',
  RefreshToken: 'refresh_token',
};
const REPLAYED: Readonly<Record<string, string>> = {
  AuthorizationCode: 'authorization_code',
  RefreshToken: 'refresh_token',
};

/** The members of the engine's token models that count. */
export interface CountedToken {
  readonly kind: string;
  readonly format?: string;
  readonly clientId?: string;
  /** the grants that led to this token, the latest last: `authorization_code refresh_token` */
  readonly gty?: string;
}

/**
 * - `active`
 * - `unknown`: there is no such token, or it has expired or was revoked
 * - `void`: its client, its user or its policy row does not stand any more
 * - `foreign`: it is none of the caller's business
 */
export type IntrospectionOutcome = (typeof INTROSPECTION_OUTCOMES)[number];
const INTROSPECTION_OUTCOMES = ['active', 'unknown', 'void', 'foreign'] as const;

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
  /**
   * One request, when its answer has left.
   * @param statusCode 0: the connection went away before the answer was complete
   */
  observeRequest(endpoint: Endpoint, statusCode: number, seconds: number): void;
  tokenIssued(token: CountedToken): void;
  tokenRevoked(token: CountedToken): void;
  /** @param what the grant type that was used, or the engine's name of the model that was replayed */
  tokenReplayed(what: unknown): void;
  introspected(outcome: IntrospectionOutcome): void;
  /** @param reason the OAuth error code, or the code of the guard */
  refused(endpoint: EndpointLabel, reason: string): void;
  loginAttempted(outcome: LoginOutcome): void;
  logoutNoticeSent(outcome: LogoutNoticeOutcome): void;
}

export function createTrafficMetrics(registry: Registry): TrafficMetrics {
  const registers = [registry];
  const requests = new Histogram({
    name: 'lanyard_http_request_duration_seconds',
    help: 'From the arrival of a request to the end of its answer, by endpoint and class of status.',
    labelNames: ['endpoint', 'status'],
    buckets: LATENCY_BUCKETS_SECONDS,
    registers,
  });
  const issued = new Counter({
    name: 'lanyard_tokens_issued_total',
    help: 'Tokens that were issued, by kind, format, grant type and client; small clients under "other".',
    labelNames: ['kind', 'format', 'grant_type', 'client_id'],
    registers,
  });
  const revoked = new Counter({
    name: 'lanyard_tokens_revoked_total',
    help: 'Tokens that their client has revoked.',
    labelNames: ['kind', 'format'],
    registers,
  });
  const replays = new Counter({
    name: 'lanyard_token_replays_total',
    help: 'Authorization codes and refresh tokens that were used a second time, whose grant was revoked therefore.',
    labelNames: ['grant_type'],
    registers,
  });
  const introspections = new Counter({
    name: 'lanyard_introspections_total',
    help: 'Introspections that were answered; all outcomes but "active" look the same to the caller.',
    labelNames: ['outcome'],
    registers,
  });
  const refusals = new Counter({
    name: 'lanyard_refusals_total',
    help: 'Requests that were refused, by endpoint and error code.',
    labelNames: ['endpoint', 'reason'],
    registers,
  });
  const logins = new Counter({
    name: 'lanyard_logins_total',
    help: 'Attempts to sign in with a password.',
    labelNames: ['outcome'],
    registers,
  });
  const logoutNotices = new Counter({
    name: 'lanyard_logout_notices_total',
    help: 'Attempts to tell an app that a session has ended.',
    labelNames: ['outcome'],
    registers,
  });
  // A series that begins at 0 shows its first event in rate(); one that begins at 1 does not.
  for (const outcome of INTROSPECTION_OUTCOMES) introspections.inc({ outcome }, 0);
  for (const outcome of Object.values(LOGIN_OUTCOMES)) logins.inc({ outcome }, 0);
  for (const outcome of Object.values(LOGOUT_NOTICE_OUTCOMES)) logoutNotices.inc({ outcome }, 0);
  for (const grantType of Object.values(REPLAYED)) replays.inc({ grant_type: grantType }, 0);

  const kindOf = closedList(TOKEN_KINDS);
  const grantTypeOf = closedList(GRANT_TYPES);
  const endpointLabelOf = closedList(ENDPOINT_LABELS);
  const reasonOf = closedList(REFUSAL_REASONS);
  const clientLabel = createClientLabels();
  const observers = createObservers(requests);

  return {
    observeRequest(endpoint, statusCode, seconds) {
      const index = statusCode >= 100 && statusCode < 600 ? Math.floor(statusCode / 100) : 0;
      (observers[endpoint] ?? observers.other)[index]?.(seconds);
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
    introspected: (outcome) => introspections.inc({ outcome }),
    refused: (endpoint, reason) => refusals.inc({ endpoint: endpointLabelOf(endpoint), reason: reasonOf(reason) }),
    loginAttempted: (outcome) => logins.inc({ outcome: LOGIN_OUTCOMES[outcome] }),
    logoutNoticeSent: (outcome) => logoutNotices.inc({ outcome: LOGOUT_NOTICE_OUTCOMES[outcome] }),
  };
}

/** The engine notes the grants of users only. */
function grantOf({ kind, gty }: CountedToken): string | undefined {
  return kind === 'ClientCredentials' ? 'client_credentials' : gty?.split(' ').at(-1);
}

function formatOf(token: CountedToken): string {
  return token.format === 'jwt' ? 'jwt' : 'opaque';
}

type Observers = Record<Endpoint, ((seconds: number) => void)[]>;

/** The label objects and names are made here, once; the series themselves appear with their first request. */
function createObservers(requests: Histogram<'endpoint' | 'status'>): Observers {
  const observers = ENDPOINTS.map((endpoint) => [
    endpoint,
    STATUS_CLASSES.map((status) => {
      const { observe } = requests.labels({ endpoint, status });
      return observe;
    }),
  ]);
  return Object.fromEntries(observers) as Observers;
}
