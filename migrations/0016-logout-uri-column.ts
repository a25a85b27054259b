// What is looked up is a column, never a member of JSON that clients wrote. It is generated, so
// that servers of the version before, which write the metadata only, can run beside those of this
// version.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE clients ADD COLUMN backchannel_logout_uri text
      GENERATED ALWAYS AS (metadata->>'backchannel_logout_uri') STORED;
    DROP INDEX clients_backchannel_logout;
    CREATE INDEX clients_backchannel_logout ON clients (client_id) WHERE backchannel_logout_uri IS NOT NULL;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP INDEX clients_backchannel_logout;
    ALTER TABLE clients DROP COLUMN backchannel_logout_uri;
    CREATE INDEX clients_backchannel_logout ON clients (client_id) WHERE metadata->>'backchannel_logout_uri' IS NOT NULL;
  `);
}
