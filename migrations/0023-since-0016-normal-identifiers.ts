// Identifiers of resource servers are registered in their normal form (resource-servers/identifier).
// Those that were registered before in another one keep it, since it is the audience of their tokens;
// here is the form under which clients that normalise URLs ask for them.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE resource_servers ADD COLUMN normal_identifier text');
  // Before the rows change: their deferred triggers would forbid it.
  await knex.raw(`CREATE INDEX resource_servers_normal ON resource_servers (normal_identifier)
                  WHERE normal_identifier IS NOT NULL`);
  const { rows } = await knex.raw('SELECT identifier FROM resource_servers');
  for (const { identifier } of rows as { identifier: string }[]) {
    const normal = URL.parse(identifier)?.href;
    // An empty path and "/" are looked up as one anyway.
    if (normal === undefined || normal === identifier || normal === `${identifier}/`) continue;
    await knex.raw('UPDATE resource_servers SET normal_identifier = ? WHERE identifier = ?', [normal, identifier]);
  }
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE resource_servers DROP COLUMN normal_identifier');
}
