// The `claims` parameter (OpenID Connect Core §5.5): a client may request a single claim if it may
// request the scope that the claim belongs to (§5.4).

import { type Client, errors, type KoaContextWithOIDC } from 'oidc-provider';
import { CLAIMS_BY_SCOPE } from '../../users/user.ts';

/**
 * Configuration `features.claimsParameter.assertClaimsParameter`, in place of the engine's, which
 * checks the syntax only.
 */
export async function assertClaims(_ctx: KoaContextWithOIDC, claims: object, client: Client): Promise<void> {
  const allowedScopes = client.scope?.split(' ');
  for (const [container, requested] of Object.entries(claims as Record<string, Record<string, unknown>>)) {
    if (container !== 'userinfo' && container !== 'id_token') continue;
    for (const [claim, value] of Object.entries(requested)) {
      // §5.5.1: null, or an object that says more about the request
      if (value !== null && (typeof value !== 'object' || Array.isArray(value))) {
        throw new errors.InvalidRequest(`claims.${container} members must be null or objects`);
      }
      const scope = scopeOf(claim);
      if (scope !== undefined && allowedScopes?.includes(scope) === false) {
        throw new errors.InvalidScope(`the claim ${claim} is of a scope that this client may not ask for`, scope);
      }
    }
  }
}

/** @returns undefined for claims about the sign-in, and for unknown ones, which are ignored */
function scopeOf(claim: string): string | undefined {
  const [scope] = Object.entries(CLAIMS_BY_SCOPE).find(([, claims]) => claims.includes(claim)) ?? [];
  return scope === 'openid' ? undefined : scope;
}
