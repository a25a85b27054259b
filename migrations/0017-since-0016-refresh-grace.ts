// How often a refresh token was used again within its grace. Servers of the version before name
// their columns and leave this one at its default.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE oidc_artifacts ADD COLUMN grace_uses smallint NOT NULL DEFAULT 0');
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE oidc_artifacts DROP COLUMN grace_uses');
}
