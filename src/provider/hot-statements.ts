// The SQL of the hot path (hot-store). Parameters are arrays, one entry for each of the callers that share the statement.

import { AUDIT_COLUMNS } from '../audit/audit.ts';
import type { Statement } from '../database/database.ts';
import { HAS_ENDED } from './ended-sessions.ts';

/** @param prefix of the names under which they are returned */
function columns(table: string, prefix = ''): string {
  return `${table}.payload AS ${prefix}payload, ${table}.client_id AS ${prefix}client_id,
    ${table}.account_id AS ${prefix}account_id, extract(epoch FROM ${table}.issued_at)::float8 AS ${prefix}issued_at,
    extract(epoch FROM ${table}.consumed_at)::float8 AS ${prefix}consumed_at`;
}

const COLUMNS = `k.position::int, ${columns('a')}`;

export const FIND = {
  name: 'artifacts_find',
  text: `SELECT ${COLUMNS} FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (model, id, position)
         JOIN oidc_artifacts a ON a.model = k.model AND a.id = k.id`,
};

/** With OFFSET each uid is looked up by itself; a join that was planned while there were no sessions goes through all of them. */
export const FIND_SESSIONS = {
  name: 'sessions_find',
  text: `SELECT ${COLUMNS} FROM unnest($1::text[]) WITH ORDINALITY AS k (uid, position)
         CROSS JOIN LATERAL (
           SELECT * FROM oidc_artifacts WHERE model = 'Session' AND uid = k.uid OFFSET 0
         ) a ORDER BY a.expires_at DESC`,
};

/** What a user's token or code depends on, in the same round trip: its grant, and the session that it ends with. */
export const FIND_FAMILY = {
  name: 'artifacts_find_family',
  text: `SELECT ${COLUMNS}, ${columns('g', 'grant_')}, ${columns('s', 'session_')}
         FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS k (model, id, position)
         JOIN oidc_artifacts a ON a.model = k.model AND a.id = k.id
         LEFT JOIN oidc_artifacts g ON g.model = 'Grant' AND g.id = a.grant_id
         LEFT JOIN LATERAL (
           SELECT * FROM oidc_artifacts
           WHERE model = 'Session' AND uid = a.payload->>'sessionUid' AND a.payload->>'expiresWithSession' = 'true'
             AND NOT ${HAS_ENDED}
           ORDER BY expires_at DESC LIMIT 1
         ) s ON true`,
};

/** With OFFSET each token is looked up by itself; without it, a plan of the beginning reads all that were revoked into a hash table. */
export const JWT_STATUS = {
  name: 'jwt_status',
  text: `SELECT k.position::int, EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.jti_hash = k.jti_hash OFFSET 0) AS is_revoked,
           (SELECT a.account_id FROM oidc_artifacts a WHERE a.model = 'Grant' AND a.id = k.grant_id) AS account_id
         FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS k (jti_hash, grant_id, position)`,
};

/** An artifact that is saved again keeps its consumed_at: that must not bring it back to life. */
const REPLACING = `ON CONFLICT (model, id) DO UPDATE SET payload = EXCLUDED.payload, client_id = EXCLUDED.client_id,
        account_id = EXCLUDED.account_id, grant_id = EXCLUDED.grant_id, uid = EXCLUDED.uid,
        user_code = EXCLUDED.user_code, issued_at = EXCLUDED.issued_at, expires_at = EXCLUDED.expires_at`;

/** The parameters are arrays, one entry for each write, each with the position of its unit. */
function storing(condition: string, onConflict: string): string {
  return `stored AS (
      INSERT INTO oidc_artifacts (model, id, payload, client_id, account_id, grant_id, uid, user_code, issued_at, expires_at)
      SELECT model, id, payload, client_id, account_id, grant_id, uid, user_code,
        to_timestamp(issued_at), to_timestamp(expires_at)
      FROM unnest($1::int[], $2::text[], $3::bytea[], $4::json[], $5::text[], $6::text[], $7::bytea[], $8::text[],
                  $9::text[], $10::float8[], $11::float8[])
        AS w (unit, model, id, payload, client_id, account_id, grant_id, uid, user_code, issued_at, expires_at)
      ${condition}
      ${onConflict}
    ), recorded AS (
      INSERT INTO audit_events (${AUDIT_COLUMNS.join(', ')})
      SELECT ${AUDIT_COLUMNS.join(', ')}
      FROM unnest($12::int[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[], $18::jsonb[])
        AS e (unit, ${AUDIT_COLUMNS.join(', ')})
      ${condition}
    )`;
}

/** Two statements of one effect: `inserting` fails where a row is there already, and costs a sixth less per row. */
export interface CommitStatements {
  readonly inserting: Statement;
  readonly replacing: Statement;
}

function commit(name: string, text: (onConflict: string) => string): CommitStatements {
  return {
    inserting: { name: `${name}_new`, text: text('') },
    replacing: { name, text: text(REPLACING) },
  };
}

export const COMMIT = commit('units_commit', (onConflict) => `WITH ${storing('', onConflict)} SELECT 1 WHERE false`);

/** For units that store nothing else. */
export const COMMIT_EVENTS = {
  name: 'events_commit',
  text: `INSERT INTO audit_events (${AUDIT_COLUMNS.join(', ')})
         SELECT ${AUDIT_COLUMNS.join(', ')}
         FROM unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::jsonb[])
           AS e (unit, ${AUDIT_COLUMNS.join(', ')})`,
};

/** Dearer, because it has to be ready to write to every partition: only for units that consume something. */
export const COMMIT_CONSUMING = commit(
  'units_commit_consuming',
  (onConflict) => `WITH consumed AS (
           UPDATE oidc_artifacts a SET consumed_at = now()
           FROM unnest($19::int[], $20::text[], $21::bytea[]) AS k (unit, model, id)
           WHERE a.model = k.model AND a.id = k.id AND a.consumed_at IS NULL
           RETURNING k.unit
         ), lost AS (
           SELECT unit FROM unnest($19::int[]) AS k (unit) EXCEPT SELECT unit FROM consumed
         ), ${storing('WHERE unit NOT IN (SELECT unit FROM lost)', onConflict)}
         SELECT unit FROM lost`,
);
