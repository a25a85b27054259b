// Whether the confidential clients that register with an initial access token must use PKCE. Servers of
// the version before leave it out: their clients must.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE initial_access_tokens ADD COLUMN require_pkce boolean');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE initial_access_tokens DROP COLUMN require_pkce');
}
