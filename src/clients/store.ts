// Rows of `clients` and `client_secrets`, and the one mapping from a row to a Client. A change
// first locks the row (lockClient), so that the version that the caller has read can be compared. New
// metadata are stored by replace-metadata only.

import type { Query } from '../database/database.ts';
import { oneRow } from '../database/one-row.ts';
import { notFound } from '../errors.ts';
import { NEXT_NOT_BEFORE, type NotBefore, type NotBeforeRow, RETURNED_NOT_BEFORE, toNotBefore } from '../not-before.ts';
import type { Client, ClientMetadata } from './client.ts';
import type { AllowedRegistration } from './registration/unverified.ts';

export interface ClientRow {
  client_id: string;
  metadata: ClientMetadata;
  registered_by: string;
  is_disabled: boolean;
  version: number;
  created_at: Date;
  updated_at: Date;
}

export const CLIENT_COLUMNS =
  'client_id, metadata, registered_by, disabled_at IS NOT NULL AS is_disabled, version, created_at, updated_at';

const SQL = {
  wantsLogoutNotices: {
    name: 'client_wants_logout_notices',
    text: `SELECT EXISTS (SELECT 1 FROM clients WHERE backchannel_logout_uri IS NOT NULL) AS found`,
  },
  find: { name: 'client_find', text: `SELECT ${CLIENT_COLUMNS} FROM clients WHERE client_id = $1` },
  lock: { name: 'client_lock', text: `SELECT ${CLIENT_COLUMNS} FROM clients WHERE client_id = $1 FOR UPDATE` },
  list: {
    name: 'client_list',
    text: `SELECT ${CLIENT_COLUMNS} FROM clients
           WHERE ($1::text IS NULL OR client_id > $1)
             AND ($2::text IS NULL OR strpos(lower(client_id), lower($2)) > 0 OR strpos(lower(name), lower($2)) > 0)
           ORDER BY client_id LIMIT $3`,
  },
  insert: {
    name: 'client_insert',
    // A client with the id of a removed one must not inherit its JWTs: none that is older than the
    // client is valid.
    text: `INSERT INTO clients (client_id, name, metadata, registered_by, registration_token_hash, registration_allowed,
                                tokens_not_before)
           VALUES ($1, $2, $3, $4, $5, $6, date_trunc('second', now()))
           ON CONFLICT DO NOTHING RETURNING ${CLIENT_COLUMNS}`,
  },
  setDisabled: {
    name: 'client_set_disabled',
    text: `UPDATE clients SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, now()) END,
             version = version + 1, updated_at = now()
           WHERE client_id = $1 RETURNING ${CLIENT_COLUMNS}`,
  },
  setNotBefore: {
    name: 'client_set_not_before',
    text: `UPDATE clients SET tokens_not_before = greatest(tokens_not_before, ${NEXT_NOT_BEFORE})
           WHERE client_id = $1 RETURNING ${RETURNED_NOT_BEFORE}`,
  },
  remove: { name: 'client_remove', text: 'DELETE FROM clients WHERE client_id = $1' },
  removeConsents: { name: 'client_remove_consents', text: 'DELETE FROM consents WHERE client_id = $1' },
  secrets: {
    name: 'client_secrets',
    text: `SELECT id, hash, expires_at, created_at, last_used_at FROM client_secrets
           WHERE client_id = $1 AND (expires_at IS NULL OR expires_at > now()) ORDER BY created_at DESC, id`,
  },
  insertSecret: {
    name: 'client_secret_insert',
    text: 'INSERT INTO client_secrets (id, client_id, hash) VALUES ($1, $2, $3) RETURNING created_at',
  },
  expireSecrets: {
    name: 'client_secrets_expire',
    text: `UPDATE client_secrets SET expires_at = least(coalesce(expires_at, 'infinity'), now() + make_interval(secs => $2))
           WHERE client_id = $1`,
  },
  removeSecret: {
    name: 'client_secret_remove',
    text: 'DELETE FROM client_secrets WHERE client_id = $1 AND id = $2',
  },
  touchSecrets: {
    name: 'client_secrets_touch',
    text: 'UPDATE client_secrets SET last_used_at = now() WHERE id = ANY($1)',
  },
};

export function toClient(row: ClientRow): Client {
  return {
    clientId: row.client_id,
    metadata: row.metadata,
    registeredBy: row.registered_by,
    isDisabled: row.is_disabled,
    version: row.version,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

export async function findClient(query: Query, clientId: string): Promise<Client | undefined> {
  const { rows } = await query<ClientRow>(SQL.find, [clientId]);
  return rows[0] && toClient(rows[0]);
}

/** @throws AppError `not_found` */
export async function getClient(query: Query, clientId: string): Promise<Client> {
  const client = await findClient(query, clientId);
  if (client === undefined) throw notFound(`client ${clientId}`);
  return client;
}

/** Locks the row until the transaction ends. @throws AppError `not_found` */
export async function lockClient(query: Query, clientId: string): Promise<Client> {
  const { rows } = await query<ClientRow>(SQL.lock, [clientId]);
  if (rows[0] === undefined) throw notFound(`client ${clientId}`);
  return toClient(rows[0]);
}

/** @returns up to `limit` + 1 clients, by client_id; `search` looks into ids and names */
export async function listClients(
  query: Query,
  page: { after: string | undefined; limit: number; search: string | undefined },
): Promise<Client[]> {
  const { rows } = await query<ClientRow>(SQL.list, [page.after ?? null, page.search ?? null, page.limit + 1]);
  return rows.map(toClient);
}

/** How a client was registered. */
export interface Registration {
  readonly registeredBy: string;
  /** SHA-256 of the registration access token (RFC 7592) */
  readonly tokenHash?: Buffer | undefined;
  /** what its initial access token allows */
  readonly allowed?: AllowedRegistration | undefined;
}

const BY_ADMIN: Registration = { registeredBy: 'admin' };

/** @returns undefined if the id is taken */
export async function insertClient(
  query: Query,
  clientId: string,
  metadata: ClientMetadata,
  { registeredBy, tokenHash, allowed }: Registration = BY_ADMIN,
): Promise<Client | undefined> {
  const described = [clientId, metadata.client_name ?? '', JSON.stringify(metadata)];
  const values = [
    ...described,
    registeredBy,
    tokenHash ?? null,
    allowed === undefined ? null : JSON.stringify(allowed),
  ];
  const { rows } = await query<ClientRow>(SQL.insert, values);
  return rows[0] && toClient(rows[0]);
}

export async function setClientDisabled(query: Query, clientId: string, isDisabled: boolean): Promise<Client> {
  return toClient(oneRow(await query<ClientRow>(SQL.setDisabled, [clientId, isDisabled])));
}

/** Of a row that the transaction has locked. */
export async function setClientNotBefore(query: Query, clientId: string): Promise<NotBefore> {
  return toNotBefore(oneRow(await query<NotBeforeRow>(SQL.setNotBefore, [clientId])));
}

export async function removeClient(query: Query, clientId: string): Promise<void> {
  await query(SQL.remove, [clientId]);
}

export async function removeConsentsOfClient(query: Query, clientId: string): Promise<number> {
  return (await query(SQL.removeConsents, [clientId])).rowCount;
}

/** What was removed of a client. */
export interface RevokedCounts {
  readonly accessTokens: number;
  readonly refreshTokens: number;
  readonly authorizationCodes: number;
  readonly grants: number;
}

export interface SecretInfo {
  readonly id: string;
  readonly createdAt: Date;
  readonly expiresAt: Date | undefined;
  readonly lastUsedAt: Date | undefined;
}

export async function listSecrets(query: Query, clientId: string): Promise<SecretInfo[]> {
  const { rows } = await query<{ id: string; created_at: Date; expires_at: Date | null; last_used_at: Date | null }>(
    SQL.secrets,
    [clientId],
  );
  return rows.map((row) => ({
    id: row.id,
    createdAt: row.created_at,
    expiresAt: row.expires_at ?? undefined,
    lastUsedAt: row.last_used_at ?? undefined,
  }));
}

export async function insertSecret(query: Query, clientId: string, id: string, hash: string): Promise<Date> {
  return oneRow(await query<{ created_at: Date }>(SQL.insertSecret, [id, clientId, hash])).created_at;
}

/** The present secrets expire after the overlap, if not earlier. */
export async function expireSecrets(query: Query, clientId: string, overlapSeconds: number): Promise<void> {
  await query(SQL.expireSecrets, [clientId, overlapSeconds]);
}

export async function removeSecret(query: Query, clientId: string, secretId: string): Promise<boolean> {
  return (await query(SQL.removeSecret, [clientId, secretId])).rowCount === 1;
}

export async function touchSecrets(query: Query, secretIds: readonly string[]): Promise<void> {
  await query(SQL.touchSecrets, [secretIds]);
}

/** Whether any client wants to be told of logouts. */
export async function wantsLogoutNotices(query: Query): Promise<boolean> {
  const { rows } = await query<{ found: boolean }>(SQL.wantsLogoutNotices, []);
  return rows[0]?.found === true;
}
