// Device flow (RFC 8628): when each device last asked, so that one that asks too often is slowed down, by all nodes together.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE device_polls (
      id               bytea PRIMARY KEY,            -- SHA-256 of the device code
      polled_at        timestamptz NOT NULL DEFAULT now(),
      interval_seconds integer NOT NULL DEFAULT 5,   -- RFC 8628 §3.5: 5 more for each time it was too fast
      was_too_fast     boolean NOT NULL DEFAULT false,
      expires_at       timestamptz NOT NULL
    );
    CREATE INDEX device_polls_expiry ON device_polls (expires_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE device_polls');
}
