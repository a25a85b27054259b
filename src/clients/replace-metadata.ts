// The one way in which the metadata of a client are replaced: by an operator, by the client itself
// (RFC 7592), by its changed metadata document. What was issued or allowed before must not come to
// mean something else, so it is decided here what ends with a change.

import { type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Query } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import { AppError } from '../errors.ts';
import { SUBJECT_MEMBERS } from './certificate-rules.ts';
import type { Client, ClientMetadata } from './client.ts';
import { isSelfRegistered } from './client.ts';
import { isLoopback } from './metadata-rules.ts';
import {
  CLIENT_COLUMNS,
  type ClientRow,
  type RevokedCounts,
  removeConsentsOfClient,
  setClientNotBefore,
  toClient,
} from './store.ts';

export interface ReplaceDeps {
  /**
   * Which subjects the client knows its users by: `public`, or those of its sector (OpenID Connect
   * Core §8). Equal texts mean equal subjects.
   */
  readonly subjectsOf: (clientId: string, metadata: ClientMetadata) => string;
  /** removes what the engine has stored for a client */
  readonly removeArtifacts: (query: Query, clientId: string) => Promise<RevokedCounts>;
}

export interface Replacement {
  /** whose row the transaction has locked */
  readonly before: Client;
  readonly metadata: ClientMetadata;
  /** `client`: by itself, without an operator */
  readonly author: 'operator' | 'client';
  readonly by: ChangedBy;
}

export interface Replaced {
  readonly client: Client;
  /** until what is issued counts as newer than what has ended; undefined: nothing has (not-before) */
  readonly secondsToWait: number | undefined;
}

const REPLACE = {
  name: 'client_replace_metadata',
  text: `UPDATE clients SET name = $2, metadata = $3, version = version + 1, updated_at = now()
         WHERE client_id = $1 RETURNING ${CLIENT_COLUMNS}`,
};

/** @throws AppError `validation_failed` when only an operator may make this change */
export async function replaceMetadata(deps: ReplaceDeps, query: Query, change: Replacement): Promise<Replaced> {
  const { before, metadata, author, by } = change;
  const { clientId } = before;
  if (author === 'client') assertSameSubjects(deps, before, metadata);
  const values = [clientId, metadata.client_name ?? '', JSON.stringify(metadata)];
  const client = toClient(oneRow(await query<ClientRow>(REPLACE, values)));

  const members = membersThatEndTokens(deps, change);
  if (members.length > 0) {
    const counts = await deps.removeArtifacts(query, clientId);
    await removeConsentsOfClient(query, clientId);
    const detail = { ...counts, changed_members: members };
    await recordAudit(query, { type: 'client.tokens_revoked', ...by, clientId, detail });
    // With the same subjects, what a request under way still issues means what the user has allowed.
    if (author === 'client') return { client, secondsToWait: undefined };
    return { client, secondsToWait: (await setClientNotBefore(query, clientId)).secondsToWait };
  }
  // Users are asked again, by the new name, when they sign in the next time.
  if (isSelfRegistered(before) && metadata.client_name !== before.metadata.client_name) {
    await removeConsentsOfClient(query, clientId);
  }
  return { client, secondsToWait: undefined };
}

/**
 * OpenID Connect Core §8.1: the sector of a client is the host of its redirect URIs. A client that
 * changes them to those of another app would learn the subjects of that app by its old tokens.
 * @throws AppError `validation_failed` naming the member
 */
export function assertSameSubjects(
  { subjectsOf }: Pick<ReplaceDeps, 'subjectsOf'>,
  { clientId, metadata: before }: Pick<Client, 'clientId' | 'metadata'>,
  metadata: ClientMetadata,
): void {
  if (subjectsOf(clientId, metadata) === subjectsOf(clientId, before)) return;
  const isOtherType = (metadata.subject_type ?? 'public') !== (before.subject_type ?? 'public');
  const member = isOtherType ? 'subject_type' : metadata.redirect_uris?.length ? 'redirect_uris' : 'jwks_uri';
  const detail = isOtherType
    ? 'cannot be changed: the client would know its users by other subjects'
    : 'must keep its host, which pairwise subjects are made of';
  throw new AppError('validation_failed', `${member} ${detail}`, { faults: [{ pointer: `/${member}`, detail }] });
}

/** The members whose change would give tokens and consents from before it another meaning. */
function membersThatEndTokens(
  { subjectsOf }: ReplaceDeps,
  { before: { clientId, metadata: before }, metadata, author }: Replacement,
): (keyof ClientMetadata)[] {
  const members: (keyof ClientMetadata)[] = [];
  if (subjectsOf(clientId, metadata) !== subjectsOf(clientId, before)) members.push('subject_type');
  // A refresh token that only the authenticated client could use would be anybody's.
  if (isPublic(metadata) && !isPublic(before)) members.push('token_endpoint_auth_method');
  // The consent page names the place that the user is sent to. Operators answer for another one.
  const places = placesOf(before);
  if (author === 'client' && [...placesOf(metadata)].some((place) => !places.has(place))) members.push('redirect_uris');
  // Who has other keys may be somebody else, who has got hold of the registration access token.
  const keys = keysOf(before);
  const keepsNone = keys.size > 0 && ![...keysOf(metadata)].some((key) => keys.has(key));
  if (author === 'client' && keepsNone) members.push('jwks');
  return members;
}

/** What the client authenticates with, secrets aside. Keys at a URL may change there. */
function keysOf({ jwks, jwks_uri: jwksUri, ...metadata }: ClientMetadata): Set<string> {
  const certificateNames = SUBJECT_MEMBERS.flatMap(({ member }) => metadata[member] ?? []);
  const own = jwks?.keys.map(({ kty, crv, x, y, n, e }) => JSON.stringify([kty, crv, x, y, n, e])) ?? [];
  return new Set([...own, ...(jwksUri === undefined ? [] : [jwksUri]), ...certificateNames]);
}

function isPublic(metadata: ClientMetadata): boolean {
  return metadata.token_endpoint_auth_method === 'none';
}

/** Hosts, and schemes of apps. Ports of the user's machine are not told apart (RFC 8252 §7.3). */
function placesOf({ redirect_uris: uris = [] }: ClientMetadata): Set<string> {
  return new Set(
    uris.map((uri) => {
      const url = URL.parse(uri);
      if (url === null) return uri;
      return isLoopback(url) ? 'loopback' : `${url.protocol}//${url.host}`;
    }),
  );
}
