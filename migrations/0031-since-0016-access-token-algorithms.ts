// How the JWT access tokens of each resource server are signed, and their `typ`. Servers of the version
// before name their columns: they issue as before, and find tokens of another algorithm inactive.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`ALTER TABLE resource_servers
    ADD COLUMN access_token_signing_alg text NOT NULL DEFAULT 'ES256'
      CHECK (access_token_signing_alg IN ('ES256', 'RS256', 'PS256', 'Ed25519')),
    ADD COLUMN access_token_typ text NOT NULL DEFAULT 'at+jwt' CHECK (access_token_typ IN ('at+jwt', 'JWT'))`);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE resource_servers DROP COLUMN access_token_signing_alg, DROP COLUMN access_token_typ');
}
