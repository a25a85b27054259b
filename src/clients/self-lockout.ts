// What an operator must not do by accident: a script that removes every client on the list removes the one that it asks with, and
// then nobody gets into the admin API any more.

import { isSameClient } from '../client-binding.ts';
import { AppError } from '../errors.ts';

/** @throws AppError `conflict` when a client is about to shut itself out */
export function assertAnotherClient(callerClientId: string, clientId: string): void {
  if (!isSameClient(callerClientId, clientId)) return;
  throw new AppError('conflict', 'this is the client that you are asking with; ask with another admin client');
}
