// A session that has ended stays ended. The engine reads the session at the beginning of a request and stores it again at its end,
// whatever has become of it meanwhile: whoever has the cookie would only have to keep asking while an operator ends the session,
// or its user does in another window. So it is written down that it has ended, under the uid that it keeps when its id changes.

import type Provider from 'oidc-provider';
import { markSessionEnded } from '../storage/ended-sessions.ts';
import type { LogoutTransaction } from './logout-transaction.ts';

/** The engine destroys a session when its user has signed out. (When only its id changes, it removes the row.) */
export function endSessionsForGood(provider: Provider, logout: LogoutTransaction, sessionSeconds: number): void {
  const { prototype } = provider.Session as unknown as { prototype: { uid: string; destroy(): Promise<void> } };
  const { destroy } = prototype;
  prototype.destroy = async function () {
    await logout.writeFirst((query) => markSessionEnded(query, this.uid, sessionSeconds));
    return destroy.call(this);
  };
}
