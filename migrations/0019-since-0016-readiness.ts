// What a process writes to learn whether the database takes writes: one row of each process, which
// is swept when the process has ended.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE readiness_probes (
      process_id text PRIMARY KEY,
      expires_at timestamptz NOT NULL,
      filler bytea NOT NULL
    );
    CREATE INDEX readiness_probes_expiry ON readiness_probes (expires_at);
    ALTER TABLE readiness_probes ALTER COLUMN filler SET STORAGE EXTERNAL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE readiness_probes');
}
