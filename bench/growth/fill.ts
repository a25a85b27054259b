// Fills a database by SQL, with rows of the size that Lanyard stores: tokens of
// `client_credentials`, distributed over the clients.

import type pg from 'pg';
import { artifactId } from '../../src/provider/storage/artifacts.ts';

/** Rows per statement, within the statement timeout of the pool. */
const CHUNK_ROWS = 100_000;
export const MODEL = 'ClientCredentials';

export const AUDIENCE = 'https://api.example/orders';
export const SCOPES = 'orders:read orders:write';

/** The n-th token of `fillTokens`, with its prefix. */
export function tokenValue(position: number): string {
  return `lyc_${position}`;
}

export function tokenId(position: number): Buffer {
  return artifactId(MODEL, tokenValue(position));
}

export const clientIdOf = (position: number): string => `client-${position}`;

export async function fillClients(pool: pg.Pool, count: number): Promise<void> {
  await pool.query(
    `INSERT INTO clients (client_id, name, metadata)
     SELECT 'client-' || n, 'Client ' || n, jsonb_build_object('client_id', 'client-' || n, 'client_name', 'Client ' || n,
       'grant_types', jsonb_build_array('client_credentials'), 'response_types', '[]'::jsonb, 'redirect_uris', '[]'::jsonb,
       'token_endpoint_auth_method', 'client_secret_basic')
     FROM generate_series(0, $1 - 1) n`,
    [count],
  );
  await pool.query('ANALYZE clients');
}

export interface Tokens {
  readonly from: number;
  readonly to: number;
  readonly clients: number;
  /** when the first one expires, in seconds from now; the others follow, 4,000 per second */
  readonly expiresInSeconds: number;
}

export async function fillTokens(pool: pg.Pool, tokens: Tokens): Promise<void> {
  const client = await pool.connect();
  try {
    await client.query('SET synchronous_commit = off');
    for (let from = tokens.from; from < tokens.to; from += CHUNK_ROWS) {
      const to = Math.min(from + CHUNK_ROWS, tokens.to);
      await client.query(
        `INSERT INTO oidc_artifacts (model, id, payload, client_id, issued_at, expires_at)
         SELECT '${MODEL}', sha256(convert_to('${MODEL}', 'UTF8') || '\\x00' || convert_to('lyc_' || n, 'UTF8')),
           json_build_object('iat', extract(epoch FROM iat)::bigint, 'exp', extract(epoch FROM exp)::bigint, 'kind', '${MODEL}',
             'clientId', 'client-' || n % $3, 'aud', '${AUDIENCE}', 'scope', '${SCOPES}',
             'extra', json_build_object('azp', 'client-' || n % $3)),
           'client-' || n % $3, iat, exp
         FROM generate_series($1::int, $2::int - 1) n, LATERAL (SELECT date_trunc('second', now()) AS now),
           LATERAL (SELECT now - interval '1 day' AS iat, now + ($4 + (n - $5) / 4000) * interval '1 second' AS exp)`,
        [from, to, tokens.clients, tokens.expiresInSeconds, tokens.from],
      );
    }
    await client.query('RESET synchronous_commit');
  } finally {
    client.release();
  }
}

/** Size of a token row with its indexes. */
export async function bytesPerToken(pool: pg.Pool): Promise<number> {
  const { rows } = await pool.query(
    `SELECT pg_total_relation_size('oidc_artifacts_access_tokens') / greatest(count(*), 1) AS bytes
     FROM oidc_artifacts_access_tokens`,
  );
  return Number(rows[0].bytes);
}
