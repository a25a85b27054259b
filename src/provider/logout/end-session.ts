// A session that has ended stays ended. The engine reads the session at the beginning of a request
// and stores it again at the end: a browser that keeps sending requests would restore a session
// which an operator ends meanwhile, or which its user ends in another window. So the end is stored
// too, under the uid that a session keeps when its id changes.

import type Provider from 'oidc-provider';
import { markSessionEnded } from '../storage/ended-sessions.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';

export interface EndSessionDeps {
  readonly unitOfWork: Pick<UnitOfWork, 'join'>;
  readonly sessionSeconds: number;
}

/**
 * The engine destroys a session when its user has signed out. When only its id changes, it removes
 * the row without this event.
 */
export function endSessionsForGood(provider: Provider, { unitOfWork, sessionSeconds }: EndSessionDeps): void {
  provider.on('session.destroyed', ({ uid, accountId }) => {
    // Nobody had signed in to it: there is nothing that could be restored.
    if (accountId === undefined) return;
    unitOfWork.join((query) => markSessionEnded(query, uid, sessionSeconds));
  });
}
