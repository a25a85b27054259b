// Compares the secret that a client presents with the hashes of its secrets, and notes when a
// secret was last used.

import type { SecretVerifier } from '../../clients/secret.ts';
import { touchSecrets } from '../../clients/store.ts';
import { createBatcher } from '../../database/batcher.ts';
import type { Database } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import { currentContext } from '../engine-internals.ts';
import { asEngineRefusal } from '../http/unavailable.ts';
import type { Directory } from '../policy/directory.ts';

/** `last_used_at` is for people: it need not be written at every request. */
const LAST_USED_RESOLUTION_MS = 60_000;
/** as many clients as the directory remembers */
const MAX_REMEMBERED = 20_000;

export type IsSecretOf = (clientId: string, presented: string) => Promise<boolean>;

export interface SecretCheckDeps {
  readonly database: Pick<Database, 'query' | 'queueSize'>;
  readonly directory: Directory;
  readonly secretVerifier: SecretVerifier;
  readonly log: Log;
}

export function createSecretCheck(deps: SecretCheckDeps): IsSecretOf {
  const { directory, secretVerifier } = deps;
  const noteUse = createUseNotes(deps);
  return async (clientId, presented) => {
    const client = await directory.findClient(clientId);
    if (client === undefined || client.isDisabled) return false;
    const presenter = {
      clientId,
      // Most secrets are right, and nobody asks.
      get address() {
        return currentContext()?.ip ?? '';
      },
    };
    const match = secretVerifier.match(presenter, client.secrets, presented);
    const secret = match instanceof Promise ? await asEngineRefusal(match) : match;
    if (secret === undefined) return false;
    noteUse(secret.id);
    return true;
  };
}

function createUseNotes({ database, log }: SecretCheckDeps): (secretId: string) => void {
  const lastTouched = new Map<string, number>();
  const touch = createBatcher<string, undefined>({
    maxRunning: 1,
    maxWaiting: database.queueSize,
    async run(secretIds) {
      await touchSecrets(database.query, secretIds);
      return secretIds.map(() => undefined);
    },
  });
  return (secretId) => {
    const now = Date.now();
    if (now - (lastTouched.get(secretId) ?? 0) < LAST_USED_RESOLUTION_MS) return;
    if (lastTouched.size > MAX_REMEMBERED) lastTouched.clear();
    lastTouched.set(secretId, now);
    touch(secretId).catch((error) => log.warn({ error }, 'last_used_at was not written'));
  };
}
