// Token exchange (RFC 8693): which client may exchange tokens for which resource server. Default:
// none.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE client_grants ADD COLUMN token_exchange boolean NOT NULL DEFAULT false;
    -- { "max_depth": 2, "allowed_clients": ["…"] | null }; NULL: no exchanged tokens
    ALTER TABLE resource_servers ADD COLUMN delegation jsonb;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE resource_servers DROP COLUMN delegation;
    ALTER TABLE client_grants DROP COLUMN token_exchange;
  `);
}
