// The scopes that an authorization request has named and that were not granted. They are stored with codes and refresh tokens, because
// many libraries name the scopes of their configuration again when they refresh.

import { type AuthorizationCode, type DeviceCode, errors, type RefreshToken } from 'oidc-provider';
import { DROPPED_SCOPE } from '../http/parameters.ts';
import { scopeOf, scopesOf } from './requested-scopes.ts';

/** The member of codes and refresh tokens. */
export const UNGRANTED_SCOPE = 'ungrantedScope';

export type Source = (AuthorizationCode | DeviceCode | RefreshToken) & { [UNGRANTED_SCOPE]?: string | undefined };

export type RequestParameters = Record<string, unknown>;

/** All that the request has named. */
export function askedIn(params: RequestParameters): ReadonlySet<string> {
  return new Set([...scopesOf(params.scope), ...scopesOf(params[DROPPED_SCOPE])]);
}

/** Puts into the parameter what `scope` does not have (any more). */
export function keepDropped(params: RequestParameters, asked: ReadonlySet<string>): void {
  const kept = scopesOf(params.scope);
  params[DROPPED_SCOPE] = scopeOf([...asked].filter((name) => !kept.has(name)));
}

/** @param source a new code, with its scope */
export function rememberUngranted(params: RequestParameters, source: Source): void {
  const { scopes } = source;
  source[UNGRANTED_SCOPE] = scopeOf([...askedIn(params)].filter((name) => !scopes.has(name)));
}

/**
 * The scopes of a refresh. RFC 6749 §6: no other than the request of the user has named; one that was named and not granted is left out,
 * which the answer says by its own `scope` (§5.1).
 * @throws InvalidScope
 */
export function refreshedScopes(requested: unknown, source: Source): ReadonlySet<string> {
  const { scopes } = source;
  if (requested === undefined) return scopes;
  const names = [...scopesOf(requested)];
  const ungranted = scopesOf(source[UNGRANTED_SCOPE]);
  const missing = names.filter((name) => !scopes.has(name) && !ungranted.has(name));
  if (missing.length > 0) {
    const what = missing.length === 1 ? 'scope' : 'scopes';
    throw new errors.InvalidScope(`refresh token missing requested ${what}`, missing.join(' '));
  }
  const granted = names.filter((name) => scopes.has(name));
  if (granted.length === 0) throw new errors.InvalidScope('none of the requested scopes was granted', names.join(' '));
  return new Set(granted);
}
