// Device flow (RFC 8628): the last poll of each device, so that slow_down works across all nodes.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE device_polls (
      id               bytea PRIMARY KEY,            -- SHA-256 of the device code
      polled_at        timestamptz NOT NULL DEFAULT now(),
      interval_seconds integer NOT NULL DEFAULT 5,   -- RFC 8628 §3.5: 5 more after each slow_down
      was_too_fast     boolean NOT NULL DEFAULT false,
      expires_at       timestamptz NOT NULL
    );
    CREATE INDEX device_polls_expiry ON device_polls (expires_at);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP TABLE device_polls');
}
