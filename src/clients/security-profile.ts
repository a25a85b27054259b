// Security profiles: one member at registration that means everything FAPI 2.0 requires of a
// client. Missing members are filled in at registration and contradicting ones are refused, so that
// the stored metadata say what applies. What only a request shows (algorithms, audiences,
// lifetimes) is checked in provider/configuration/fapi.ts.

import type { FaultyMember } from '../errors.ts';

export const SECURITY_PROFILES = ['fapi2', 'fapi2-message-signing'] as const;

/** FAPI 2.0 Security Profile §5.4.1, for all signatures. RS256 is not among them. */
export const FAPI_ALGORITHMS = ['PS256', 'ES256', 'EdDSA', 'Ed25519'];

/** Whether a client with this profile must not get what is signed like that. */
export function isBelowProfile(alg: string, metadata: { readonly security_profile?: unknown } | undefined): boolean {
  return metadata?.security_profile !== undefined && !FAPI_ALGORITHMS.includes(alg);
}

const JWT_RESPONSE_MODES = ['jwt', 'query.jwt', 'fragment.jwt', 'form_post.jwt'];
const AUTH_METHODS = ['private_key_jwt', 'tls_client_auth', 'self_signed_tls_client_auth'];

/** Client metadata by the names of RFC 7591. */
type Members = Readonly<Record<string, unknown>>;

/** The values of a profile for members that the registration leaves out. */
export function profileDefaults({ security_profile: profile, ...members }: Members) {
  if (profile === undefined) return {};
  const isCertificateBound = members.tls_client_certificate_bound_access_tokens === true;
  return {
    token_endpoint_auth_method: 'private_key_jwt',
    require_pkce: true,
    require_issuer_audience: true,
    require_pushed_authorization_requests: true,
    dpop_bound_access_tokens: !isCertificateBound,
    // The default of other clients, RS256, is not allowed.
    id_token_signed_response_alg: 'ES256',
    authorization_signed_response_alg: 'ES256',
    introspection_signed_response_alg: 'ES256',
    ...(profile === 'fapi2-message-signing'
      ? { require_signed_request_object: true, response_modes: JWT_RESPONSE_MODES }
      : {}),
  };
}

/** Each member that contradicts the profile of the client, by name. */
export function profileFaults({ security_profile: profile, ...members }: Members): FaultyMember[] {
  if (profile === undefined) return [];
  const faults: FaultyMember[] = [];
  const demand = (isMet: boolean, member: string, what: string) => {
    if (!isMet) faults.push({ pointer: `/${member}`, detail: `${member} ${what} for the profile ${profile}` });
  };

  // FAPI 2.0 Security Profile §5.3.2.1
  demand(
    AUTH_METHODS.includes(String(members.token_endpoint_auth_method)),
    'token_endpoint_auth_method',
    'must be private_key_jwt or mutual TLS',
  );
  demand(members.require_pkce === true, 'require_pkce', 'must be true');
  // Clients that were registered before there was this member do not have it.
  demand(members.require_issuer_audience !== false, 'require_issuer_audience', 'must not be false');
  demand(
    members.require_pushed_authorization_requests === true,
    'require_pushed_authorization_requests',
    'must be true',
  );
  demand(
    members.dpop_bound_access_tokens === true || members.tls_client_certificate_bound_access_tokens === true,
    'dpop_bound_access_tokens',
    'or tls_client_certificate_bound_access_tokens must be true',
  );
  // Several apps may claim the scheme of a native client (RFC 8252 §8.6).
  demand(members.application_type !== 'native', 'application_type', 'must be web');
  // FAPI 2.0 Security Profile §5.3.2.2: no response over an unencrypted connection, not even to this machine.
  for (const uri of Array.isArray(members.redirect_uris) ? members.redirect_uris : []) {
    demand(isHttps(uri), 'redirect_uris', 'must be https');
  }
  demand(members.jwks_uri === undefined || isHttps(members.jwks_uri), 'jwks_uri', 'must be https');
  for (const [member, value] of Object.entries(members)) {
    if (member.endsWith('_alg') && !FAPI_ALGORITHMS.includes(String(value))) {
      demand(false, member, `must be one of ${FAPI_ALGORITHMS.join(', ')}`);
    }
  }
  if (profile === 'fapi2-message-signing') {
    // FAPI 2.0 Message Signing §5.3.1, §5.4.1
    demand(members.require_signed_request_object === true, 'require_signed_request_object', 'must be true');
    const modes = Array.isArray(members.response_modes) ? members.response_modes : [];
    const isSigned = modes.length > 0 && modes.every((mode) => JWT_RESPONSE_MODES.includes(mode));
    demand(isSigned, 'response_modes', `must name only ${JWT_RESPONSE_MODES.join(', ')}`);
  }
  return faults;
}

function isHttps(uri: unknown): boolean {
  return URL.parse(String(uri))?.protocol === 'https:';
}
