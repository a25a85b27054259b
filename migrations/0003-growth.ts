// How tables keep for years: indexes only where a row can be found by them, room for the one update that a refresh token and a
// code see, vacuum in small helpings. Each number was measured (bench/growth/README.md).

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Nearly every event is 'token.issued': whoever lists those reads the table backwards and finds them at once. The index is
    -- for the needles: 48 bytes less for each token.
    DROP INDEX audit_events_type;
    CREATE INDEX audit_events_type ON audit_events (type, id) WHERE type <> 'token.issued';

    -- Only a device code has a user code. Each index of a partition is opened and locked by every statement that writes to it.
    DROP INDEX oidc_artifacts_user_code;
    CREATE INDEX oidc_artifacts_other_user_code ON oidc_artifacts_other (user_code) WHERE user_code IS NOT NULL;

    -- The pruner takes its rows in the order of their expiry. A throttle's expiry changes once per window, so counting the
    -- failures in between rewrites no index.
    CREATE INDEX login_throttle_expiry ON login_throttle (expire);
    CREATE INDEX client_secrets_expiry ON client_secrets (expires_at) WHERE expires_at IS NOT NULL;

    -- Their one update (consumed_at, in no index) stays on its page: with 90 all of 40,000 updates did, with 100 87 % did,
    -- 80 was 15 % larger and no better. Access tokens are never updated; a session that is saved again has another expiry,
    -- which is in an index, so room on its page would not help it.
    ALTER TABLE oidc_artifacts_refresh_tokens SET (fillfactor = 90);
    ALTER TABLE oidc_artifacts_codes SET (fillfactor = 90);

    -- A twentieth, not a fifth: dead rows cost space, and the sweep's next start walks past their entries. The threshold keeps
    -- small tables from being vacuumed every minute.
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
