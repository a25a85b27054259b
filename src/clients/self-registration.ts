// Software that registers itself (RFC 7591) and looks after its own registration (RFC 7592). It is judged by the same rules as what
// an operator registers, and by some more: nobody has looked at it. It gets no policy row; resource servers that want such clients
// say so themselves (resource-servers, self_registered_clients).

import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Query } from '../database/database.ts';
import { AppError } from '../errors.ts';
import { type Client, type ClientMetadata, clientMetadataSchema, withDefaults } from './client.ts';
import { type AllowedRegistration, hashToken, useInitialAccessToken } from './initial-access.ts';
import type { Clients, CreatedClient } from './register.ts';
import { findClient } from './store.ts';

/** What software may be without an operator. The grants with which it acts for itself are not among them. */
const GRANT_TYPES = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
const OPENID_SCOPES = ['openid', 'offline_access', 'profile', 'email', 'address', 'phone'];
/** Members that make a client weaker, concern operators, or would have this server fetch something for a stranger. */
const REFUSED_MEMBERS = ['authorization_details_types', 'refresh_token_grace_seconds', 'sector_identifier_uri'];

const TOKEN_HASH = {
  name: 'client_registration_token',
  text: 'SELECT registration_token_hash FROM clients WHERE client_id = $1 AND disabled_at IS NULL',
};

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
  find(clientId: string, registrationToken: string): Promise<Client>;
  /** RFC 7592 §2.2: what the document does not name goes. */
  replace(client: Client, document: Record<string, unknown>, requestId: string): Promise<Client>;
  remove(client: Client, requestId: string): Promise<void>;
}

/** RFC 6750 §3.1, invalid_token. */
export class InvalidAccessError extends Error {}

export function createSelfRegistrations(deps: { query: Query; clients: Clients }): SelfRegistrations {
  const { query, clients } = deps;
  const by = (clientId: string, requestId: string) => ({ actor: `client:${clientId}`, requestId });

  return {
    async register(document, initialAccessToken, requestId) {
      const clientId = randomBytes(16).toString('hex');
      const registrationToken = `lyg_${randomBytes(32).toString('base64url')}`;
      const metadata = parse(document);
      const created = await clients.create(clientId, metadata, by(clientId, requestId), {
        tokenHash: hashToken(registrationToken),
        async permit(transaction) {
          if (initialAccessToken === undefined) {
            assertAllowed(metadata, {});
            return 'open';
          }
          const used = await useInitialAccessToken(transaction, initialAccessToken);
          if (used === undefined) throw new InvalidAccessError('the initial access token is not good');
          assertAllowed(metadata, used.allowed);
          return `token:${used.id}`;
        },
      });
      return { ...created, registrationToken };
    },

    async find(clientId, registrationToken) {
      const { rows } = await query<{ registration_token_hash: Buffer | null }>(TOKEN_HASH, [clientId]);
      const expected = rows[0]?.registration_token_hash ?? undefined;
      const client = expected === undefined ? undefined : await findClient(query, clientId);
      if (expected === undefined || client === undefined || !timingSafeEqual(expected, hashToken(registrationToken))) {
        throw new InvalidAccessError('not the registration access token of this client');
      }
      return client;
    },

    async replace(client, document, requestId) {
      const metadata = parse(document);
      assertAllowed(metadata, {});
      const gone = Object.keys(client.metadata).filter((name) => !(name in metadata));
      const patch = { ...Object.fromEntries(gone.map((name) => [name, null])), ...metadata };
      return clients.change(client.clientId, patch as never, client.version, by(client.clientId, requestId));
    },

    remove: (client, requestId) => clients.remove(client.clientId, client.version, by(client.clientId, requestId)),
  };
}

/** RFC 7591 §2: "The authorization server MUST ignore any client metadata sent by the client that it does not understand". */
function parse(document: Record<string, unknown>): ClientMetadata {
  const known = Object.keys(clientMetadataSchema.shape).filter((name) => !REFUSED_MEMBERS.includes(name));
  const understood = Object.fromEntries(
    known
      .filter((name) => document[name] !== undefined && document[name] !== null)
      .map((name) => [name, document[name]]),
  );
  const parsed = clientMetadataSchema.safeParse({ ...understood, ...parseScope(document.scope) });
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => ({ pointer: `/${path.join('/')}`, detail: message }));
    const detail = faults.map((fault) => `${fault.pointer} ${fault.detail}`).join('; ');
    throw new AppError('validation_failed', detail, { faults });
  }
  return withDefaults(parsed.data as ClientMetadata);
}

/** Apps name the scopes of APIs here too. Those are for the resource servers to grant; what is left is what this means to us. */
function parseScope(scope: unknown): { scope?: unknown } {
  if (typeof scope !== 'string') return scope === undefined || scope === null ? {} : { scope };
  const own = scope.split(' ').filter((name) => OPENID_SCOPES.includes(name));
  return { scope: own.length === 0 ? undefined : own.join(' ') };
}

function assertAllowed(metadata: ClientMetadata, allowed: AllowedRegistration): void {
  const grantTypes = allowed.grant_types ?? GRANT_TYPES;
  const faults = (metadata.grant_types ?? [])
    .filter((name) => !grantTypes.includes(name))
    .map((name) => ({ pointer: '/grant_types', detail: `${name} is not for software that registers itself` }));
  // RFC 9700 §2.1.1
  if (metadata.require_pkce === false) faults.push({ pointer: '/require_pkce', detail: 'must not be false' });
  for (const [index, uri] of (metadata.redirect_uris ?? []).entries()) {
    const host = URL.parse(uri)?.host ?? '';
    if (allowed.redirect_hosts !== undefined && !allowed.redirect_hosts.includes(host)) {
      faults.push({ pointer: `/redirect_uris/${index}`, detail: `${host} is not a host that this token allows` });
    }
  }
  if (faults.length > 0)
    throw new AppError('validation_failed', faults.map((each) => each.detail).join('; '), { faults });
}
