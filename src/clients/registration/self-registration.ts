// Dynamic client registration (RFC 7591) and its management (RFC 7592). This folder owns what such
// clients may register (unverified.ts), the initial access tokens, and the removal of idle clients;
// its clients are ordinary clients. They get no policy row: a resource server that accepts them
// says so itself (self_registered_clients).

import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Query } from '../../database/database.ts';
import { AppError } from '../../errors.ts';
import { applyPatch, authenticatesWithSecret, type Client, isStranger, OPEN_REGISTRATION } from '../client.ts';
import type { Clients, CreatedClient } from '../clients.ts';
import { lookUpClients } from '../lookup.ts';
import { changesSector } from '../metadata-rules.ts';
import type { SecretVerifier } from '../secret.ts';
import { findClient } from '../store.ts';
import { findInitialAccessToken, hashToken, useInitialAccessToken } from './initial-access-tokens.ts';
import type { FindReservedWord } from './reserved-names.ts';
import {
  type AllowedRegistration,
  assertAllowed,
  assertNotForOperators,
  OPERATORS_MEMBERS,
  parseUnverified,
  STRANGER,
} from './unverified.ts';

const REGISTRATION = {
  name: 'client_registration',
  text: `SELECT registration_token_hash, registration_allowed FROM clients WHERE client_id = $1 AND disabled_at IS NULL`,
};

export interface OwnRegistration {
  readonly client: Client;
  /** what its initial access token allows; still in force when that token is gone */
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
    request: RequestSource,
  ): Promise<CreatedClient & { registrationToken: string }>;
  /** @throws InvalidAccessError when the token is not that of the client */
  find(clientId: string, registrationToken: string): Promise<OwnRegistration>;
  /**
   * RFC 7592 §2.2: removes the members that the document does not name, except those that only
   * operators set.
   * @returns a secret too when the client needs one from now on
   */
  replace(own: OwnRegistration, document: Record<string, unknown>, request: RequestSource): Promise<CreatedClient>;
  remove(client: Client, requestId: string): Promise<void>;
}

/** Which request, and from where. */
export interface RequestSource {
  readonly requestId: string;
  readonly address: string;
}

/** RFC 6750 §3.1, invalid_token. */
export class InvalidAccessError extends Error {}

export interface SelfRegistrationsDeps {
  readonly query: Query;
  readonly clients: Clients;
  readonly secretVerifier: SecretVerifier;
  readonly findReservedWord: FindReservedWord;
  /** of what this server fetches since a client names it, by network address */
  readonly fetchThrottle: { attempt(address: string): Promise<number | undefined> };
}

async function register(
  deps: SelfRegistrationsDeps,
  document: Record<string, unknown>,
  initialAccessToken: string | undefined,
  { requestId, address }: RequestSource,
): Promise<CreatedClient & { registrationToken: string }> {
  const clientId = randomBytes(16).toString('hex');
  const registrationToken = `lyg_${randomBytes(32).toString('base64url')}`;
  const token =
    initialAccessToken === undefined ? undefined : await findInitialAccessToken(deps.query, initialAccessToken);
  if (initialAccessToken !== undefined && token === undefined) throw unusableToken();
  const origin = token === undefined ? STRANGER : { isStranger: false, requirePkce: token.requirePkce };
  const allowed = token?.allowed ?? {};
  assertNotForOperators(document, origin);
  const metadata = parseUnverified(document, origin);
  assertAllowed(metadata, allowed, deps.findReservedWord);
  if (changesSector(metadata)) await assertMayFetch(deps, address);
  const created = await deps.clients.create(clientId, metadata, by(clientId, requestId), {
    tokenHash: hashToken(registrationToken),
    async permit(transaction) {
      if (initialAccessToken === undefined || token === undefined) return { registeredBy: OPEN_REGISTRATION, allowed };
      // It may have been used up or removed since.
      if (!(await useInitialAccessToken(transaction, initialAccessToken))) throw unusableToken();
      return { registeredBy: `token:${token.id}`, allowed };
    },
  });
  return { ...created, registrationToken };
}

function unusableToken(): InvalidAccessError {
  return new InvalidAccessError('the initial access token is not valid');
}

/** A refused registration does not count as a use of its token, so each token could cause any number of requests. */
async function assertMayFetch({ fetchThrottle }: SelfRegistrationsDeps, address: string): Promise<void> {
  const retryAfterSeconds = await fetchThrottle.attempt(address);
  if (retryAfterSeconds === undefined) return;
  throw new AppError('too_many_requests', 'too many addresses to fetch', { retryAfterSeconds });
}

async function find(
  { query }: SelfRegistrationsDeps,
  clientId: string,
  registrationToken: string,
): Promise<OwnRegistration> {
  // PostgreSQL cannot compare with NUL.
  if (clientId.includes('\0')) throw new InvalidAccessError('the client does not exist');
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
}

async function replace(
  deps: SelfRegistrationsDeps,
  { client, allowed }: OwnRegistration,
  document: Record<string, unknown>,
  { requestId, address }: RequestSource,
): Promise<CreatedClient> {
  const { clientId } = client;
  const origin = { isStranger: isStranger(client), requirePkce: client.metadata.require_pkce ?? true };
  assertNotForOperators(document, origin, client.metadata);
  const metadata = parseUnverified(document, origin);
  assertAllowed(metadata, allowed, deps.findReservedWord);
  await assertOwnSecret(deps, { clientId, address }, document.client_secret);
  const patch: Record<string, unknown> = { ...metadata };
  for (const name of Object.keys(client.metadata)) {
    if (!(name in metadata) && !OPERATORS_MEMBERS.includes(name)) patch[name] = null;
  }
  if (changesSector(applyPatch(client.metadata, patch), client.metadata)) await assertMayFetch(deps, address);
  const changedBy = by(clientId, requestId);
  const changed = await deps.clients.changeOwn(clientId, patch, client.version, changedBy);
  const needsSecret = authenticatesWithSecret(changed.metadata) && !authenticatesWithSecret(client.metadata);
  if (!needsSecret) return { client: changed, secret: undefined };
  const { secret } = await deps.clients.addSecret(clientId, { overlapSeconds: 0, secret: undefined }, changedBy);
  return { client: changed, secret };
}

/** RFC 7592 §2.2: "MUST match the currently issued client secret for that client" */
async function assertOwnSecret(
  { query, secretVerifier }: SelfRegistrationsDeps,
  presenter: { readonly clientId: string; readonly address: string },
  secret: unknown,
): Promise<void> {
  if (secret === undefined || secret === null) return;
  const [known] = await lookUpClients(query, [presenter.clientId]);
  const stored = known?.secrets ?? [];
  if (typeof secret === 'string' && (await secretVerifier.match(presenter, stored, secret)) !== undefined) return;
  const detail = 'must be the secret that was issued, or be left out';
  throw new AppError('validation_failed', `client_secret ${detail}`, {
    faults: [{ pointer: '/client_secret', detail }],
  });
}

/** A dynamically registered client changes its own registration. */
function by(clientId: string, requestId: string) {
  return { actor: `client:${clientId}`, requestId };
}

export function createSelfRegistrations(deps: SelfRegistrationsDeps): SelfRegistrations {
  return {
    register: (...input) => register(deps, ...input),
    find: (...input) => find(deps, ...input),
    replace: (...input) => replace(deps, ...input),
    remove: ({ clientId, version }, requestId) => deps.clients.remove(clientId, version, by(clientId, requestId)),
  };
}
