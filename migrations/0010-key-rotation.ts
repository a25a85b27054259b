// Key rotation while servers run: each change notifies all nodes, and a key may be unpublished.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE signing_keys ADD COLUMN published boolean NOT NULL DEFAULT true;
    CREATE TRIGGER signing_keys_announce AFTER INSERT OR DELETE OR UPDATE ON signing_keys
      FOR EACH ROW EXECUTE FUNCTION lanyard_announce_change('signing_key', 'kid');
    CREATE TRIGGER signing_keys_announce_truncate AFTER TRUNCATE ON signing_keys
      FOR EACH STATEMENT EXECUTE FUNCTION lanyard_announce_truncate('signing_key');
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TRIGGER signing_keys_announce_truncate ON signing_keys;
    DROP TRIGGER signing_keys_announce ON signing_keys;
    DELETE FROM signing_keys WHERE NOT published;
    ALTER TABLE signing_keys DROP COLUMN published;
  `);
}
