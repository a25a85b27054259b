// The engine's adapter for clients: enabled ones only, read from the database each time, so that a disable counts at once.
// The engine's schema demands a secret in the clear for clients that authenticate with one; it gets a stand-in that nobody can
// present, and the comparison is replaced by ours (the hook that the engine's maintainer offers for hashed secrets).

import { randomBytes } from 'node:crypto';
import Provider, { type Adapter, errors } from 'oidc-provider';
import { authenticatesWithSecret } from '../clients/client.ts';
import type { SecretVerifier } from '../clients/secret.ts';
import { findClientForAuthentication, touchSecret } from '../clients/store.ts';
import type { Query } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';

/** `last_used_at` is for people: it need not be written at every request. */
const LAST_USED_RESOLUTION_MS = 60_000;

export interface ClientAdapterDeps {
  readonly query: Query;
  readonly secretVerifier: SecretVerifier;
  readonly log: Log;
}

export interface ClientAdapter extends Adapter {
  /** Replaces the engine's comparison of secrets. */
  installSecretCheck(provider: Provider): void;
}

export function createClientAdapter(deps: ClientAdapterDeps): ClientAdapter {
  const { query, secretVerifier, log } = deps;
  const standIn = `stand-in.${randomBytes(32).toString('base64url')}`;
  const lastTouched = new Map<string, number>();

  async function isSecretOf(clientId: string, presented: string): Promise<boolean> {
    const client = await findClientForAuthentication(query, clientId);
    if (client === undefined) return false;
    const secret = await secretVerifier.match(clientId, client.secrets, presented).catch(refuseIfOverloaded);
    if (secret === undefined) return false;
    noteUse(secret.id);
    return true;
  }

  /** Not a wrong secret and not our failure: the client is told to come back (RFC 6749 §4.1.2.1 has the code for it). */
  function refuseIfOverloaded(error: unknown): never {
    if (!(error instanceof AppError) || error.code !== 'overloaded') throw error;
    Provider.ctx?.set('Retry-After', String(error.retryAfterSeconds ?? 1));
    const refusal = new errors.OIDCProviderError(503, 'temporarily_unavailable', { cause: error });
    throw Object.assign(refusal, { expose: true, error_description: 'too many secrets are being checked at once' });
  }

  function noteUse(secretId: string): void {
    const now = Date.now();
    if (now - (lastTouched.get(secretId) ?? 0) < LAST_USED_RESOLUTION_MS) return;
    if (lastTouched.size > 10_000) lastTouched.clear();
    lastTouched.set(secretId, now);
    touchSecret(query, secretId).catch((error) => log.warn({ error }, 'last_used_at was not written'));
  }

  function refuse(): never {
    throw new Error('clients are registered through the admin API, not through the engine');
  }

  return {
    async find(clientId) {
      // PostgreSQL cannot compare with NUL; no client has such an id.
      if (clientId.length > 255 || clientId.includes('\0')) return undefined;
      const client = await findClientForAuthentication(query, clientId);
      if (client === undefined) return undefined;
      const secret = authenticatesWithSecret(client.metadata) ? { client_secret: standIn } : {};
      return { ...(client.metadata as object), client_id: clientId, ...secret };
    },
    installSecretCheck(provider) {
      provider.Client.prototype.compareClientSecret = function (this: { clientId: string }, presented: string) {
        return isSecretOf(this.clientId, presented);
      };
    },
    upsert: async () => refuse(),
    destroy: async () => refuse(),
    consume: async () => refuse(),
    revokeByGrantId: async () => refuse(),
    findByUid: async () => undefined,
    findByUserCode: async () => undefined,
  };
}
