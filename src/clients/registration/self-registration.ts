// Software that registers itself (RFC 7591) and looks after its own registration (RFC 7592). What it may say of itself stands in
// unverified.ts. It gets no policy row; resource servers that want such clients say so themselves (resource-servers,
// self_registered_clients).

import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Query } from '../../database/database.ts';
import { AppError } from '../../errors.ts';
import { authenticatesWithSecret, type Client } from '../client.ts';
import type { Clients, CreatedClient } from '../clients.ts';
import { lookUpClients } from '../lookup.ts';
import type { SecretVerifier } from '../secret.ts';
import { findClient } from '../store.ts';
import { hashToken, useInitialAccessToken } from './initial-access-tokens.ts';
import { type AllowedRegistration, assertAllowed, OPERATORS_MEMBERS, parseUnverified } from './unverified.ts';

const REGISTRATION = {
  name: 'client_registration',
  text: `SELECT registration_token_hash, registration_allowed FROM clients WHERE client_id = $1 AND disabled_at IS NULL`,
};

export interface OwnRegistration {
  readonly client: Client;
  /** what its initial access token allowed, which outlives that token */
  readonly allowed: AllowedRegistration;
}

export interface SelfRegistrations {
  /**
   * @param initialAccessToken undefined: registration is open
   * @throws InvalidAccessError; AppError `validation_failed`
   */
  register(
    document: Record<string, unknown>,
    initialAccessToken: string | undefined,
    requestId: string,
  ): Promise<CreatedClient & { registrationToken: string }>;
  /** @throws InvalidAccessError when the token is not that of this client, or there is none */
  find(clientId: string, registrationToken: string): Promise<OwnRegistration>;
  /**
   * RFC 7592 §2.2: what the document does not name goes, but for what only operators set.
   * @returns with a secret when the client needs one now and had none
   */
  replace(own: OwnRegistration, document: Record<string, unknown>, requestId: string): Promise<CreatedClient>;
  remove(client: Client, requestId: string): Promise<void>;
}

/** RFC 6750 §3.1, invalid_token. */
export class InvalidAccessError extends Error {}

export interface SelfRegistrationsDeps {
  readonly query: Query;
  readonly clients: Clients;
  readonly secretVerifier: SecretVerifier;
}

export function createSelfRegistrations({ query, clients, secretVerifier }: SelfRegistrationsDeps): SelfRegistrations {
  const by = (clientId: string, requestId: string) => ({ actor: `client:${clientId}`, requestId });

  /** RFC 7592 §2.2: a secret in the request "MUST match the currently issued client secret for that client". */
  async function assertOwnSecret({ clientId }: Client, secret: unknown): Promise<void> {
    if (secret === undefined || secret === null) return;
    const [known] = await lookUpClients(query, [clientId]);
    const stored = known?.secrets ?? [];
    if (typeof secret === 'string' && (await secretVerifier.match(clientId, stored, secret)) !== undefined) return;
    const detail = 'must be the secret that was issued, or be left out';
    throw new AppError('validation_failed', `client_secret ${detail}`, {
      faults: [{ pointer: '/client_secret', detail }],
    });
  }

  return {
    async register(document, initialAccessToken, requestId) {
      const clientId = randomBytes(16).toString('hex');
      const registrationToken = `lyg_${randomBytes(32).toString('base64url')}`;
      const metadata = parseUnverified(document);
      const created = await clients.create(clientId, metadata, by(clientId, requestId), {
        tokenHash: hashToken(registrationToken),
        async permit(transaction) {
          if (initialAccessToken === undefined) {
            assertAllowed(metadata, {});
            return { registeredBy: 'open', allowed: {} };
          }
          const used = await useInitialAccessToken(transaction, initialAccessToken);
          if (used === undefined) throw new InvalidAccessError('the initial access token is not good');
          assertAllowed(metadata, used.allowed);
          return { registeredBy: `token:${used.id}`, allowed: used.allowed };
        },
      });
      return { ...created, registrationToken };
    },

    async find(clientId, registrationToken) {
      // PostgreSQL cannot compare with NUL.
      if (clientId.includes('\0')) throw new InvalidAccessError('there is no such client');
      const { rows } = await query<{
        registration_token_hash: Buffer | null;
        registration_allowed: AllowedRegistration | null;
      }>(REGISTRATION, [clientId]);
      const expected = rows[0]?.registration_token_hash ?? undefined;
      const client = expected === undefined ? undefined : await findClient(query, clientId);
      if (expected === undefined || client === undefined || !timingSafeEqual(expected, hashToken(registrationToken))) {
        throw new InvalidAccessError('not the registration access token of this client');
      }
      return { client, allowed: rows[0]?.registration_allowed ?? {} };
    },

    async replace({ client, allowed }, document, requestId) {
      const metadata = parseUnverified(document);
      assertAllowed(metadata, allowed);
      await assertOwnSecret(client, document.client_secret);
      const gone = Object.keys(client.metadata).filter(
        (name) => !(name in metadata) && !OPERATORS_MEMBERS.includes(name),
      );
      const patch = { ...Object.fromEntries(gone.map((name) => [name, null])), ...metadata };
      const changedBy = by(client.clientId, requestId);
      const changed = await clients.change(client.clientId, patch as never, client.version, changedBy);
      const needsSecret = authenticatesWithSecret(changed.metadata) && !authenticatesWithSecret(client.metadata);
      if (!needsSecret) return { client: changed, secret: undefined };
      const { secret } = await clients.addSecret(client.clientId, { overlapSeconds: 0, secret: undefined }, changedBy);
      return { client: changed, secret };
    },

    remove: (client, requestId) => clients.remove(client.clientId, client.version, by(client.clientId, requestId)),
  };
}
