// The `claims` parameter (OpenID Connect Core §5.5): which of the requested claims the user has allowed.

import type { ClaimsParameter, Grant } from 'oidc-provider';

/** They say who signed in and how: no user is asked for them. */
const ALWAYS_ALLOWED: readonly string[] = ['sub', 'sid', 'auth_time', 'acr', 'amr', 'iss'];

export function grantedClaims(requested: ClaimsParameter | undefined, target: 'id_token' | 'userinfo', grant: Grant) {
  const claims = Object.entries(requested?.[target] ?? {});
  const granted = new Set(grant.getOIDCClaimsFiltered(new Set(claims.map(([name]) => name))));
  return {
    mask: Object.fromEntries(claims.filter(([name]) => ALWAYS_ALLOWED.includes(name) || granted.has(name))),
    rejected: grant.getRejectedOIDCClaims(),
  };
}
