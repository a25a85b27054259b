// The values that labels may have. A value that is not on its list becomes `other`.

import { OTHER } from './client-labels.ts';

export const GRANT_TYPES = [
  'authorization_code',
  'refresh_token',
  'client_credentials',
  'token_exchange',
  'device_code',
] as const;
export const TOKEN_KINDS = ['access_token', 'refresh_token'] as const;
export const ENDPOINT_LABELS = [
  'token',
  'authorization',
  'pushed_authorization_request',
  'device_authorization',
  'introspection',
  'revocation',
  'userinfo',
  'logout',
  'admin',
] as const;

export type EndpointLabel = (typeof ENDPOINT_LABELS)[number];

/** Error codes of RFC 6749, 6750, 7009, 8707, OpenID Connect Core §3.1.2.6, and of the guard. */
export const REFUSAL_REASONS = [
  'access_denied',
  'authorization_pending',
  'client_not_allowed',
  'consent_required',
  'expired_token',
  'insufficient_scope',
  'interaction_required',
  'invalid_authorization_details',
  'invalid_client',
  'invalid_dpop_proof',
  'invalid_grant',
  'invalid_redirect_uri',
  'invalid_request',
  'invalid_request_object',
  'invalid_request_uri',
  'invalid_scope',
  'invalid_target',
  'invalid_token',
  'login_required',
  'missing_token',
  'registration_not_supported',
  'request_not_supported',
  'request_uri_not_supported',
  'server_error',
  'slow_down',
  'temporarily_unavailable',
  'unauthorized_client',
  'unmet_authentication_requirements',
  'unsupported_grant_type',
  'unsupported_response_mode',
  'unsupported_response_type',
  'unsupported_token_type',
  'use_dpop_nonce',
] as const;

/** @returns a function that returns a value of the list as it is, and `other` for all others */
export function closedList(values: readonly string[]): (value: string | undefined) => string {
  const known = new Set(values);
  return (value) => (value !== undefined && known.has(value) ? value : OTHER);
}

const MAX_NAMES = 32;

/** For names from the code (of a table, a cache). Limits the series if one came from a request. */
export function fewNames(): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.has(name)) return name;
    if (known.size >= MAX_NAMES) return OTHER;
    known.add(name);
    return name;
  };
}
