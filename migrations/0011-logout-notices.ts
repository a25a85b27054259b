// Whether anybody wants to hear of logouts is asked at the start and whenever a client changes.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE INDEX clients_backchannel_logout ON clients (client_id) WHERE metadata->>'backchannel_logout_uri' IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('DROP INDEX clients_backchannel_logout');
}
