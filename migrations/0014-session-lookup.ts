// Only a session is ever looked up by its uid, at every use of a token that ends with it. With an index for just that no planner
// without statistics thinks of going through all sessions instead (which it did: BitmapAnd with the primary key, model = 'Session'),
// and the other partitions are rid of an index in which they had nothing.

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
