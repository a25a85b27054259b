// The keys that user names are compared by (users/username-keys fills them): no longer lower() in
// the locale of the database. Servers of the version before add users without a key. The index
// users_username is theirs; a later release drops it.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE users
      ADD COLUMN username_key text,      -- RFC 8265 UsernameCaseMapped; NULL: none, or not yet
      ADD COLUMN username_problem text CHECK (username_problem IN ('refused', 'collision'));
    CREATE UNIQUE INDEX users_exact_username ON users (username);
    CREATE UNIQUE INDEX users_username_key ON users (username_key) WHERE username_problem IS NULL;
    CREATE INDEX users_username_uses ON users (username_key) WHERE username_key IS NOT NULL;
    CREATE INDEX users_username_pending ON users (id) WHERE username_key IS NULL AND username_problem IS NULL;
    CREATE INDEX users_username_problem ON users (username_problem, id) WHERE username_problem IS NOT NULL;

    -- Another name has another key.
    CREATE FUNCTION lanyard_forget_username_key() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.username_key := NULL;
      NEW.username_problem := NULL;
      RETURN NEW;
    END $$;
    CREATE TRIGGER users_forget_username_key BEFORE UPDATE OF username ON users
      FOR EACH ROW WHEN (OLD.username IS DISTINCT FROM NEW.username) EXECUTE FUNCTION lanyard_forget_username_key();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TRIGGER users_forget_username_key ON users;
    DROP FUNCTION lanyard_forget_username_key;
    DROP INDEX users_exact_username;
    ALTER TABLE users DROP COLUMN username_problem, DROP COLUMN username_key;
  `);
}
