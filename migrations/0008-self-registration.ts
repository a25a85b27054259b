// Dynamic client registration (RFC 7591) and initial access tokens.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE initial_access_tokens (
      id         text PRIMARY KEY,
      token_hash bytea NOT NULL UNIQUE,                -- SHA-256 of 256 random bits
      note       text NOT NULL DEFAULT '',
      max_uses   integer NOT NULL CHECK (max_uses > 0),
      uses       integer NOT NULL DEFAULT 0,
      allowed    jsonb NOT NULL DEFAULT '{}',          -- { "grant_types": […], "redirect_hosts": […] }
      expires_at timestamptz NOT NULL,
      created_at timestamptz NOT NULL DEFAULT now()
    );
    -- For pruning by expiry.
    CREATE INDEX initial_access_tokens_expiry ON initial_access_tokens (expires_at);

    ALTER TABLE clients
      ADD COLUMN registered_by text NOT NULL DEFAULT 'admin',  -- admin, token:<id>, open or metadata_document
      ADD COLUMN registration_token_hash bytea;                -- RFC 7592
    CREATE INDEX clients_self_registered ON clients (client_id) WHERE registered_by <> 'admin';

    -- The last token of a dynamically registered client. Not in clients, where every change
    -- notifies all nodes.
    CREATE TABLE client_uses (
      client_id    text PRIMARY KEY REFERENCES clients ON DELETE CASCADE,
      last_used_at timestamptz NOT NULL
    );

    -- NULL: only clients with a policy row
    ALTER TABLE resource_servers ADD COLUMN self_registered_scopes text[];
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE resource_servers DROP COLUMN self_registered_scopes;
    DROP TABLE client_uses;
    ALTER TABLE clients DROP COLUMN registration_token_hash, DROP COLUMN registered_by;
    DROP TABLE initial_access_tokens;
  `);
}
