// The variables of what the server issues and to whom: lifetimes, login, registration, requests to
// addresses of clients.

import { count, hostList, hostListOrAll, integer, proxyUrl, seconds, yesOrNo } from './values.ts';
import type { VariableTable } from './variable.ts';

const lifetime = { schema: seconds, unit: 'seconds' };
const failures = { schema: count, unit: 'failed logins per window' };

export const LIFETIMES = {
  LANYARD_AUTHORIZATION_CODE_TTL_SECONDS: {
    // RFC 6749 §4.1.2 allows ten minutes at most; a client that works needs seconds.
    schema: integer(1, 600),
    unit: 'seconds',
    default: '60',
    text: 'Lifetime of authorization codes.',
  },
  LANYARD_ACCESS_TOKEN_TTL_SECONDS: {
    ...lifetime,
    // Short, because a resource server that verifies JWTs by itself sees no revocation before they
    // expire.
    default: '600',
    text: 'Lifetime of access tokens, unless the resource server sets its own.',
  },
  LANYARD_ID_TOKEN_TTL_SECONDS: { ...lifetime, default: '3600', text: 'Lifetime of ID tokens.' },
  LANYARD_REFRESH_TOKEN_TTL_SECONDS: {
    ...lifetime,
    default: '1209600',
    text: 'Lifetime of refresh tokens and of the grant behind them.',
  },
  LANYARD_SESSION_TTL_SECONDS: { ...lifetime, default: '1209600', text: 'How long a browser stays signed in.' },
  LANYARD_INTERACTION_TTL_SECONDS: {
    ...lifetime,
    default: '3600',
    text: 'How long a login or consent page may stay open.',
  },
} as const satisfies VariableTable;

export const LOGIN = {
  LANYARD_LOGIN_FAILURES_PER_ACCOUNT: {
    ...failures,
    default: '10',
    text: 'After that many failures the account refuses passwords until the window has passed.',
  },
  LANYARD_LOGIN_FAILURES_PER_ADDRESS: {
    ...failures,
    default: '100',
    text: 'The same for one network address (IPv6: one /64).',
  },
  LANYARD_LOGIN_WINDOW_SECONDS: { ...lifetime, default: '900', text: 'The window in which failed logins are counted.' },
} as const satisfies VariableTable;

export const LIMITS = {
  LANYARD_CLIENT_SECRET_FAILURES: {
    schema: count,
    unit: 'wrong secrets per window',
    default: '20',
    text:
      'How many wrong secrets of one client a network address may present in LANYARD_LOGIN_WINDOW_SECONDS. ' +
      'Concerns imported secrets, which are expensive to check. Each further worker adds one. Should not be less than ' +
      'the number of machines.',
  },
  LANYARD_ANONYMOUS_WRITES_PER_ADDRESS: {
    schema: count,
    unit: 'rows a minute',
    // A flow stores one to three of them: two hundred people behind one address begin in one minute.
    default: '600',
    text:
      'How many logins, pushed requests and device codes one network address (IPv6: one /64) may begin without ' +
      'authentication. Each process counts for itself.',
  },
  LANYARD_ANONYMOUS_WRITES_PER_CLIENT: {
    schema: count,
    unit: 'rows a minute',
    default: '6000',
    text: 'The same for one client, from all addresses together.',
  },
} as const satisfies VariableTable;

export const REGISTRATION = {
  LANYARD_DANGER_OPEN_REGISTRATION: {
    schema: yesOrNo,
    unit: 'true | false',
    default: 'false',
    text: 'Lets anyone register clients at /oauth2/register without an initial access token.',
  },
  LANYARD_REGISTRATIONS_PER_HOUR: {
    schema: count,
    unit: 'registrations',
    default: '20',
    text:
      'How many clients one network address may register in an hour without an initial access token, ' +
      'new ones that are described by a metadata document included.',
  },
  LANYARD_CLIENT_METADATA_HOSTS: {
    schema: hostListOrAll,
    unit: 'host or host:port, separated by commas, or *',
    whenUnset: 'none',
    text: 'The hosts whose client ID metadata documents are accepted as clients; the client_id is their https URL.',
  },
  LANYARD_SELF_REGISTERED_IDLE_DAYS: {
    schema: integer(1, 3650),
    unit: 'days',
    whenUnset: 'never removed',
    text:
      'Removes dynamically registered clients that got no token for so long. ' +
      'GET /admin/v1/idle-clients lists them beforehand.',
  },
} as const satisfies VariableTable;

export const OUTBOUND = {
  LANYARD_OUTBOUND_PROXY: {
    schema: proxyUrl,
    unit: 'http(s) URL',
    whenUnset: 'none',
    text: 'The proxy through which the server fetches what clients name (jwks_uri and the like).',
    isSecret: true,
  },
  LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: {
    schema: hostList,
    unit: 'host or host:port, separated by commas',
    whenUnset: 'none',
    text:
      'Hosts that may be fetched from although they are not on the public internet, with plain http too. ' +
      'For tests and closed networks.',
  },
} as const satisfies VariableTable;
