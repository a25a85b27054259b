// Which sessions have ended, by the uid that a session keeps when its id changes. They are rows of
// revoked_tokens.

import type { Query } from '../../database/database.ts';
import { sha256 } from './artifacts.ts';

const HASH = (uid: string) => `sha256(convert_to('session ' || ${uid}, 'UTF8'))`;

/**
 * For statements on rows of sessions. With OFFSET it is asked by index, and not made a join that
 * may read the table whole.
 */
export const HAS_ENDED = `EXISTS (SELECT 1 FROM revoked_tokens WHERE jti_hash = ${HASH('uid')} OFFSET 0)`;

const INSERT = {
  name: 'ended_session_insert',
  text: `INSERT INTO revoked_tokens (jti_hash, expires_at)
         VALUES (${HASH('$1::text')}, now() + make_interval(secs => $2)) ON CONFLICT DO NOTHING`,
};

/**
 * @param sessionSeconds for how long a request in progress may store it again; the sweep leaves an
 * hour more
 */
export async function markSessionEnded(query: Query, uid: string, sessionSeconds: number): Promise<void> {
  await query(INSERT, [uid, sessionSeconds]);
}

/** They are rows among the revoked tokens, and are found by the same statement. */
interface RevokedTokens {
  findJwtStatus(jtiHash: Buffer, grantId: undefined): Promise<{ readonly isRevoked: boolean }>;
}

export async function hasSessionEnded(artifactStore: RevokedTokens, uid: string): Promise<boolean> {
  return (await artifactStore.findJwtStatus(sha256(`session ${uid}`), undefined)).isRevoked;
}
