// Which sessions have ended, under the uid that a session keeps when its id changes. They are rows of revoked_tokens.

import { hash } from 'node:crypto';
import type { Query } from '../../database/database.ts';

const HASH = (uid: string) => `sha256(convert_to('session ' || ${uid}, 'UTF8'))`;

/** For statements on rows of sessions. With OFFSET it is asked by index, and not made a join that may read the table whole. */
export const HAS_ENDED = `EXISTS (SELECT 1 FROM revoked_tokens WHERE jti_hash = ${HASH('uid')} OFFSET 0)`;

const MARK = {
  name: 'session_mark_ended',
  text: `INSERT INTO revoked_tokens (jti_hash, expires_at)
         VALUES (${HASH('$1::text')}, now() + make_interval(secs => $2)) ON CONFLICT DO NOTHING`,
};

/** @param sessionSeconds how long a request that is underway can store it for; the sweep leaves an hour more */
export async function markSessionEnded(query: Query, uid: string, sessionSeconds: number): Promise<void> {
  await query(MARK, [uid, sessionSeconds]);
}

/** Marks stand among the single tokens that were revoked, so whoever looks there for those finds them. */
interface RevokedTokens {
  findJwtStatus(jtiHash: Buffer, grantId: undefined): Promise<{ readonly isRevoked: boolean }>;
}

export async function hasSessionEnded(artifactStore: RevokedTokens, uid: string): Promise<boolean> {
  return (await artifactStore.findJwtStatus(hash('sha256', `session ${uid}`, 'buffer'), undefined)).isRevoked;
}
