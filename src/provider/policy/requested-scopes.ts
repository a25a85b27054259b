// Scopes as a request names them (RFC 6749 §3.3).

import { type Client, errors } from 'oidc-provider';
import { OPENID_SCOPES } from '../../clients/client.ts';

export function scopesOf(scope: string | readonly string[] | undefined): ReadonlySet<string> {
  return new Set(typeof scope === 'string' && scope !== '' ? scope.split(' ') : []);
}

/**
 * The member `scope` of a client lists the OpenID scopes that it may ask for.
 * @throws InvalidScope
 */
export function assertOpenIdScopes(client: Client, requested: ReadonlySet<string>): void {
  if (client.scope === undefined) return;
  const allowed = scopesOf(client.scope);
  for (const name of requested) {
    if (OPENID_SCOPES.includes(name) && !allowed.has(name)) {
      throw new errors.InvalidScope('requested scope is not allowed', name);
    }
  }
}
