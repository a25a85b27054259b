// Secrets of the installation, and authorization details types of resource servers (RFC 9396).

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE installation_secrets (
      name       text PRIMARY KEY,
      sealed     text NOT NULL,                      -- AES-256-GCM
      created_at timestamptz NOT NULL DEFAULT now()
    );

    -- { "<type>": { "description": "…" } }
    ALTER TABLE resource_servers ADD COLUMN authorization_details_types jsonb NOT NULL DEFAULT '{}';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE resource_servers DROP COLUMN authorization_details_types;
    DROP TABLE installation_secrets;
  `);
}
