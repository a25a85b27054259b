// A cache of introspection responses for active tokens. Its keys are SHA-256 of the tokens, so that
// a memory dump of the resource server contains no token.

import { createHash } from 'node:crypto';
import type { Claims } from './principal.ts';

/** About one kilobyte each. The oldest one is evicted first. */
const MAX_RESPONSES = 10_000;

export interface IntrospectionCache {
  find(token: string): Claims | undefined;
  insert(token: string, claims: Claims): void;
}

export function createIntrospectionCache(cacheSeconds: number, maxResponses = MAX_RESPONSES): IntrospectionCache {
  /** As JSON, so that each request gets its own copy: a handler may change its principal's claims. */
  const responses = new Map<string, { readonly json: string; readonly staleAtMs: number }>();

  function find(token: string): Claims | undefined {
    if (cacheSeconds === 0) return undefined;
    const key = keyOf(token);
    const cached = responses.get(key);
    if (cached === undefined) return undefined;
    if (cached.staleAtMs > Date.now()) return JSON.parse(cached.json);
    responses.delete(key);
    return undefined;
  }

  function insert(token: string, claims: Claims): void {
    // RFC 7662 §4: "the response MUST NOT be cached beyond the time indicated" by `exp`. Without
    // `exp` it is not cached at all.
    if (cacheSeconds === 0 || typeof claims.exp !== 'number') return;
    const staleAtMs = Math.min(Date.now() + cacheSeconds * 1000, claims.exp * 1000);
    const key = keyOf(token);
    // Deleted first, because `Map.set` leaves an existing key at its old position.
    responses.delete(key);
    const oldest = responses.size >= maxResponses ? responses.keys().next().value : undefined;
    if (oldest !== undefined) responses.delete(oldest);
    responses.set(key, { json: JSON.stringify(claims), staleAtMs });
  }

  return { find, insert };
}

function keyOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}
