// What may be presented once: the insert decides, and it is committed even if the request around it
// fails.

import { createHash } from 'node:crypto';
import type { Query } from '../../database/database.ts';

const INSERT = {
  name: 'replay_guard_insert',
  text: 'INSERT INTO replay_guard (id, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING',
};

/**
 * @param parts what identifies it, e.g. issuer and jti
 * @param expiresAt seconds since 1970, after which it would be refused anyway
 * @returns whether this was the first time
 */
export async function useOnce(query: Query, parts: readonly unknown[], expiresAt: number): Promise<boolean> {
  const id = createHash('sha256').update(JSON.stringify(parts)).digest();
  // An assertion that claims to be valid for centuries must not overflow a timestamp.
  const expiry = new Date(Math.min(expiresAt * 1000, 8.64e15));
  return (await query(INSERT, [id, expiry])).rowCount === 1;
}
