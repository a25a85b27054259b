// The SQL of artifact-store. Parameters are rows, one for each of the callers that share the
// statement.

import { AUDIT_COLUMNS } from '../../audit/audit.ts';
import { type FinishedRow, type RowsParameter, rowsParameter } from '../../database/array-parameters.ts';
import type { Statement } from '../../database/database.ts';
import { HAS_ENDED } from './ended-sessions.ts';
import { forEachTable } from './partitions.ts';

/** `position`: of the caller, from 0 */
export const KEY_ROWS = rowsParameter('position', { model: 'text', id: 'bytea' });
export const UID_ROWS = rowsParameter('position', { uid: 'text' });
export const JWT_ROWS = rowsParameter('position', { jti_hash: 'bytea', grant_id: 'bytea' });

/** Of rows that begin with a model. */
export function modelOf([model]: FinishedRow): string {
  return String(model);
}

/** of one artifact, as artifact-store reads them */
function columns(table: string): string {
  return `${table}.payload, ${table}.client_id, ${table}.account_id, date_part('epoch', ${table}.issued_at),
    date_part('epoch', ${table}.consumed_at)`;
}
export const ARTIFACT_COLUMN_COUNT = 5;

const COLUMNS = `k.position, ${columns('a')}`;
const AS_ARRAYS = { rowMode: 'array' } as const;

export const findStatement = forEachTable((table) => ({
  ...AS_ARRAYS,
  name: `find_in_${table}`,
  text: `SELECT ${COLUMNS} FROM ${KEY_ROWS.source} k JOIN ${table} a ON a.model = k.model AND a.id = k.id`,
}));

/**
 * With OFFSET each uid is looked up by itself; a join planned while there were no sessions reads
 * all of them.
 */
export const FIND_SESSIONS = {
  ...AS_ARRAYS,
  name: 'sessions_find',
  text: `SELECT ${COLUMNS} FROM ${UID_ROWS.source} k
         CROSS JOIN LATERAL (
           SELECT * FROM oidc_artifacts WHERE model = 'Session' AND uid = k.uid OFFSET 0
         ) a ORDER BY a.expires_at DESC`,
};

/**
 * What a user's token or code depends on, in the same round trip: its grant, and the session that
 * it ends with. Payloads are never searched: JSON that clients wrote can make `->>` fail, and with
 * it the statement of all who share it.
 */
export const findTokenWithGrantStatement = forEachTable((table) => ({
  ...AS_ARRAYS,
  name: `find_with_grant_in_${table}`,
  text: `SELECT ${COLUMNS}, ${columns('g')}, ${columns('s')}
         FROM ${KEY_ROWS.source} k
         JOIN ${table} a ON a.model = k.model AND a.id = k.id
         LEFT JOIN oidc_artifacts g ON g.model = 'Grant' AND g.id = a.grant_id
         LEFT JOIN LATERAL (
           SELECT * FROM oidc_artifacts
           WHERE model = 'Session' AND uid = a.uid AND NOT ${HAS_ENDED}
           ORDER BY expires_at DESC LIMIT 1
         ) s ON true`,
}));

/**
 * With OFFSET each token is looked up by itself; without, an early plan reads all revoked ones into
 * a hash table.
 */
export const JWT_STATUS = {
  name: 'jwt_status',
  text: `SELECT k.position, EXISTS (SELECT 1 FROM revoked_tokens r WHERE r.jti_hash = k.jti_hash OFFSET 0) AS is_revoked,
           (SELECT a.account_id FROM oidc_artifacts a WHERE a.model = 'Grant' AND a.id = k.grant_id) AS account_id
         FROM ${JWT_ROWS.source} k`,
};

/** An artifact that is saved again keeps its consumed_at: that must not bring it back to life. */
const REPLACING = `ON CONFLICT (model, id) DO UPDATE SET payload = EXCLUDED.payload, client_id = EXCLUDED.client_id,
        account_id = EXCLUDED.account_id, grant_id = EXCLUDED.grant_id, uid = EXCLUDED.uid,
        user_code = EXCLUDED.user_code, issued_at = EXCLUDED.issued_at, expires_at = EXCLUDED.expires_at`;

/** `unit`: the position of the caller whose write it is */
export const ARTIFACT_ROWS = rowsParameter('unit', {
  ...{ model: 'text', id: 'bytea', payload: 'json', client_id: 'text', account_id: 'text', grant_id: 'bytea' },
  ...{ uid: 'text', user_code: 'text', issued_at: 'float8', expires_at: 'float8' },
});
export const EVENT_ROWS = rowsParameter('unit', AUDIT_COLUMNS, ARTIFACT_ROWS.nextParameter);
export const CONSUMED_ROWS = rowsParameter('unit', { model: 'text', id: 'bytea' }, EVENT_ROWS.nextParameter);
export const REUSED_ROWS = rowsParameter(
  'unit',
  { model: 'text', id: 'bytea', grace_seconds: 'float8' },
  EVENT_ROWS.nextParameter,
);
/** of units that store nothing else */
export const ONLY_EVENT_ROWS = rowsParameter('unit', AUDIT_COLUMNS);

function recording({ source }: RowsParameter, condition = ''): string {
  const columns = Object.keys(AUDIT_COLUMNS).join(', ');
  return `INSERT INTO audit_events (${columns}) SELECT ${columns} FROM ${source} e ${condition}`;
}

function storing(condition: string, onConflict: string): string {
  return `stored AS (
      INSERT INTO oidc_artifacts (model, id, payload, client_id, account_id, grant_id, uid, user_code, issued_at, expires_at)
      SELECT model, id, payload, client_id, account_id, grant_id, uid, user_code,
        to_timestamp(issued_at), to_timestamp(expires_at)
      FROM ${ARTIFACT_ROWS.source} w ${condition} ${onConflict}
    ), recorded AS (
      ${recording(EVENT_ROWS, condition)}
    )`;
}

/**
 * Two statements of one effect: `inserting` fails where a row is there already, and costs a sixth
 * less per row.
 */
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
export const COMMIT_EVENTS = { name: 'events_commit', text: recording(ONLY_EVENT_ROWS) };

/** Costs more: only for units that consume something. */
export const commitConsumingStatements = forEachTable((table) =>
  commit(
    `commit_consuming_${table}`,
    (onConflict) => `WITH consumed AS (
           UPDATE ${table} a SET consumed_at = now()
           FROM ${CONSUMED_ROWS.source} k
           WHERE a.model = k.model AND a.id = k.id AND a.consumed_at IS NULL
           RETURNING k.unit
         ), lost AS (
           SELECT unit FROM ${CONSUMED_ROWS.source} k EXCEPT SELECT unit FROM consumed
         ), ${storing('WHERE unit NOT IN (SELECT unit FROM lost)', onConflict)}
         SELECT unit FROM lost`,
  ),
);

/** Two tabs and a retry. More uses of one token within seconds are not those of an honest app. */
const MAX_GRACE_USES = 3;
const IS_WITHIN_GRACE = 'a.consumed_at > now() - make_interval(secs => k.grace_seconds)';

/** Of one unit: of several at once, each waits for the row and is decided by what is there then. */
export const COMMIT_REUSING = {
  name: 'commit_reusing',
  text: `WITH reused AS (
           UPDATE oidc_artifacts_refresh_tokens a SET grace_uses = a.grace_uses + 1
           FROM ${REUSED_ROWS.source} k
           WHERE a.model = k.model AND a.id = k.id AND ${IS_WITHIN_GRACE} AND a.grace_uses < ${MAX_GRACE_USES}
           RETURNING k.unit
         ), ${storing('WHERE unit IN (SELECT unit FROM reused)', '')}
         SELECT EXISTS (SELECT 1 FROM reused) AS is_stored, (
           SELECT ${IS_WITHIN_GRACE} FROM oidc_artifacts_refresh_tokens a WHERE a.model = k.model AND a.id = k.id
         ) AS is_within_grace FROM ${REUSED_ROWS.source} k`,
};
