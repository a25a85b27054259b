// For the query whether any client has a back-channel logout URI, at start and after client
// changes.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX clients_backchannel_logout ON clients (client_id) WHERE metadata->>'backchannel_logout_uri' IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX clients_backchannel_logout');
}
