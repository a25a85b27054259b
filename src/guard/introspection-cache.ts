// Positive introspection answers, kept for a short time. Tokens are not kept, only their SHA-256, so that a memory dump of the
// resource server gives nobody a token.

import { createHash } from 'node:crypto';
import type { Claims } from './principal.ts';

/** About a kilobyte each; the oldest answer makes room. */
const MAX_ANSWERS = 10_000;

export interface IntrospectionCache {
  find(token: string): Claims | undefined;
  insert(token: string, answer: Claims): void;
}

export function createIntrospectionCache(cacheSeconds: number, maxAnswers = MAX_ANSWERS): IntrospectionCache {
  /** As JSON: every request gets a copy of its own, which no other request's handler can have changed. */
  const answers = new Map<string, { readonly json: string; readonly staleAtMs: number }>();

  function find(token: string): Claims | undefined {
    if (cacheSeconds === 0) return undefined;
    const key = keyOf(token);
    const kept = answers.get(key);
    if (kept === undefined) return undefined;
    if (kept.staleAtMs > Date.now()) return JSON.parse(kept.json) as Claims;
    answers.delete(key);
    return undefined;
  }

  function insert(token: string, answer: Claims): void {
    // RFC 7662 §4: "the response MUST NOT be cached beyond the time indicated" by `exp`; without one it is not cached at all.
    if (cacheSeconds === 0 || typeof answer.exp !== 'number') return;
    const staleAtMs = Math.min(Date.now() + cacheSeconds * 1000, answer.exp * 1000);
    const key = keyOf(token);
    // Removed first, because a Map keeps the place of a key that is written again.
    answers.delete(key);
    const oldest = answers.size >= maxAnswers ? answers.keys().next().value : undefined;
    if (oldest !== undefined) answers.delete(oldest);
    answers.set(key, { json: JSON.stringify(answer), staleAtMs });
  }

  return { find, insert };
}

function keyOf(token: string): string {
  return createHash('sha256').update(token).digest('base64url');
}
