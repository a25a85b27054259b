// Scopes as a request names them (RFC 6749 §3.3): a text of names, with a space between them.

import { type Client, errors } from 'oidc-provider';
import { OPENID_SCOPES } from '../../clients/client.ts';

export function scopesOf(scope: unknown): ReadonlySet<string> {
  return new Set(typeof scope === 'string' && scope !== '' ? scope.split(' ') : []);
}

/** @returns undefined for none */
export function scopeOf(names: Iterable<string>): string | undefined {
  return [...names].join(' ') || undefined;
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
