// Notifies every committed change of a configuration row on the channel `lanyard_change` as
// `<topic>:<key>`, so that every node drops it from its cache (database/change-feed). Key `*` means
// all.

import type { Knex } from 'knex';

/** The topic of each table, and the column that is its key. */
const ANNOUNCED = [
  { table: 'clients', topic: 'client', key: 'client_id', columns: '' },
  // Without last_used_at, which is written often.
  { table: 'client_secrets', topic: 'client', key: 'client_id', columns: 'OF id, client_id, hash, expires_at' },
  { table: 'client_grants', topic: 'client_grants', key: 'client_id', columns: '' },
  { table: 'resource_servers', topic: 'resource_server', key: 'identifier', columns: '' },
  { table: 'users', topic: 'user', key: 'id', columns: '' },
];

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- Arguments: the topic, and the column that holds the key. PostgreSQL sends equal payloads of a
    -- transaction once.
    CREATE FUNCTION lanyard_announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      old_key text := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ->> TG_ARGV[1] END;
      new_key text := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ->> TG_ARGV[1] END;
    BEGIN
      -- A payload has room for 8000 bytes.
      IF octet_length(coalesce(old_key, '') || coalesce(new_key, '')) > 7000 THEN old_key := '*'; new_key := '*'; END IF;
      IF old_key IS NOT NULL THEN PERFORM pg_notify('lanyard_change', TG_ARGV[0] || ':' || old_key); END IF;
      IF new_key IS NOT NULL THEN PERFORM pg_notify('lanyard_change', TG_ARGV[0] || ':' || new_key); END IF;
      RETURN NULL;
    END $$;

    CREATE FUNCTION lanyard_announce_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_notify('lanyard_change', TG_ARGV[0] || ':*');
      RETURN NULL;
    END $$;
  `);
  for (const { table, topic, key, columns } of ANNOUNCED) {
    await knex.raw(`
      CREATE TRIGGER ${table}_announce AFTER INSERT OR DELETE OR UPDATE ${columns} ON ${table}
        FOR EACH ROW EXECUTE FUNCTION lanyard_announce_change('${topic}', '${key}');
      CREATE TRIGGER ${table}_announce_truncate AFTER TRUNCATE ON ${table}
        FOR EACH STATEMENT EXECUTE FUNCTION lanyard_announce_truncate('${topic}');
    `);
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const { table } of ANNOUNCED) {
    await knex.raw(`DROP TRIGGER ${table}_announce ON ${table}; DROP TRIGGER ${table}_announce_truncate ON ${table};`);
  }
  await knex.raw('DROP FUNCTION lanyard_announce_change; DROP FUNCTION lanyard_announce_truncate;');
}
