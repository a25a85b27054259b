// The client that may act for the users of a client at an API (RFC 8693 §4.4, `may_act`). Without a
// foreign key: after that client was removed, no client may.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE client_grants ADD COLUMN may_act text');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE client_grants DROP COLUMN may_act');
}
