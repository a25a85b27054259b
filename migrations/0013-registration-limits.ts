// The limits of an initial access token apply to later updates of the registration too (RFC 7592
// §2.2), when the token may have been removed.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE clients ADD COLUMN registration_allowed jsonb'); // NULL: the defaults
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE clients DROP COLUMN registration_allowed');
}
