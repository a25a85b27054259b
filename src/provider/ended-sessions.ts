// A session that has ended stays ended. The engine reads the session at the beginning of a request and stores it again at its end,
// whatever has become of it meanwhile: whoever has the cookie would only have to keep asking while an operator ends the session,
// or its user does in another window. So it is written down that it has ended, under the uid that it keeps when its id changes.

import { hash } from 'node:crypto';
import type Provider from 'oidc-provider';
import type { Query } from '../database/database.ts';
import type { LogoutTransaction } from './logout-transaction.ts';

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

export async function hasSessionEnded(hotStore: RevokedTokens, uid: string): Promise<boolean> {
  return (await hotStore.findJwtStatus(hash('sha256', `session ${uid}`, 'buffer'), undefined)).isRevoked;
}

/** The engine destroys a session when its user has signed out. (When only its id changes, it removes the row.) */
export function endSessionsForGood(provider: Provider, logout: LogoutTransaction, sessionSeconds: number): void {
  const { prototype } = provider.Session as unknown as { prototype: { uid: string; destroy(): Promise<void> } };
  const { destroy } = prototype;
  prototype.destroy = async function () {
    await logout.writeFirst((query) => markSessionEnded(query, this.uid, sessionSeconds));
    return destroy.call(this);
  };
}
