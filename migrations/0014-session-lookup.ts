// Only sessions are looked up by uid, at every use of a token that ends with one. Without
// statistics the planner combined the old index with a scan of all sessions (BitmapAnd with the
// primary key); the partial index prevents that, and the other partitions need none.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE oidc_artifacts_refresh_tokens SET (fillfactor = 50);
    DROP INDEX oidc_artifacts_uid;
    CREATE INDEX oidc_artifacts_session_uid ON oidc_artifacts_sessions (uid) WHERE model = 'Session';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX oidc_artifacts_session_uid;
    CREATE INDEX oidc_artifacts_uid ON oidc_artifacts (uid) WHERE uid IS NOT NULL;
  `);
}
