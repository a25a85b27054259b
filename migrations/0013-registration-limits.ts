// What the initial access token allowed holds for as long as the client does: it may replace its registration (RFC 7592 §2.2), and the
// token may be gone by then.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE clients ADD COLUMN registration_allowed jsonb'); // NULL: what everybody may
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE clients DROP COLUMN registration_allowed');
}
