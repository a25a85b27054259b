// A client must not remove or disable itself: a script that removes every client would lose its own
// access to the admin API, and with the last admin client no one could restore it.

import { isSameClient } from '../client-binding.ts';
import { AppError } from '../errors.ts';

/** @throws AppError `conflict` when both are the same client */
export function assertAnotherClient(callerClientId: string, clientId: string): void {
  if (!isSameClient(callerClientId, clientId)) return;
  throw new AppError('conflict', 'a client cannot remove or disable itself; use another admin client');
}
