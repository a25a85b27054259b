// Settings for large tables: partial indexes, free space for the one update of refresh tokens and
// codes, and small vacuums. Each number was measured (bench/growth/README.md).

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Nearly every event is 'token.issued', which is found fast by reading the table backwards. The
    -- index is for the other types; this saves 48 bytes per token.
    DROP INDEX audit_events_type;
    CREATE INDEX audit_events_type ON audit_events (type, id) WHERE type <> 'token.issued';

    -- Only device codes have a user code. A statement that writes to a partition opens and locks
    -- each of its indexes.
    DROP INDEX oidc_artifacts_user_code;
    CREATE INDEX oidc_artifacts_other_user_code ON oidc_artifacts_other (user_code) WHERE user_code IS NOT NULL;

    -- Rows are pruned in the order of their expiry. The expiry of a throttle changes once per
    -- window, so that counting failures does not update the index.
    CREATE INDEX login_throttle_expiry ON login_throttle (expire);
    CREATE INDEX client_secrets_expiry ON client_secrets (expires_at) WHERE expires_at IS NOT NULL;

    -- HOT updates for consumed_at, which is in no index: with 90 all of 40,000 updates were HOT,
    -- with 100 87 %; 80 was 15 % larger and not better. Access tokens are not updated, and an
    -- update of a session changes its expiry, which is in an index.
    ALTER TABLE oidc_artifacts_refresh_tokens SET (fillfactor = 90);
    ALTER TABLE oidc_artifacts_codes SET (fillfactor = 90);

    -- 5 % instead of 20 %: dead rows take space, and the next pruning reads their index entries.
    -- The threshold keeps small tables from being vacuumed every minute.
    ALTER TABLE oidc_artifacts_access_tokens SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
    ALTER TABLE oidc_artifacts_refresh_tokens SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE oidc_artifacts_refresh_tokens RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
    ALTER TABLE oidc_artifacts_access_tokens RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
    ALTER TABLE oidc_artifacts_codes RESET (fillfactor);
    ALTER TABLE oidc_artifacts_refresh_tokens RESET (fillfactor);
    DROP INDEX client_secrets_expiry, login_throttle_expiry, oidc_artifacts_other_user_code, audit_events_type;
    CREATE INDEX oidc_artifacts_user_code ON oidc_artifacts (user_code) WHERE user_code IS NOT NULL;
    CREATE INDEX audit_events_type ON audit_events (type, id);
  `);
}
