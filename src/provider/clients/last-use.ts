// Notes when dynamically registered clients were last used, so that idle ones can be removed
// (clients/registration/idle-clients).

import { isSelfRegistered } from '../../clients/client.ts';
import { noteClientUse } from '../../clients/registration/idle-clients.ts';
import type { Query } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import type { Directory } from '../policy/directory.ts';

/** Idle clients are removed after days. */
const RESOLUTION_MS = 3_600_000;
/** as many clients as the directory remembers */
const MAX_REMEMBERED = 20_000;

export function createClientUses(deps: { query: Query; directory: Directory; log: Log }): (clientId: string) => void {
  const { query, directory, log } = deps;
  const lastNoted = new Map<string, number>();

  async function note(clientId: string): Promise<void> {
    const client = await directory.findClient(clientId);
    if (client !== undefined && isSelfRegistered(client)) await noteClientUse(query, clientId);
  }

  return (clientId) => {
    const now = Date.now();
    if (now - (lastNoted.get(clientId) ?? 0) < RESOLUTION_MS) return;
    if (lastNoted.size > MAX_REMEMBERED) lastNoted.clear();
    lastNoted.set(clientId, now);
    note(clientId).catch((error) => log.warn({ error }, 'the use of a client was not noted'));
  };
}
