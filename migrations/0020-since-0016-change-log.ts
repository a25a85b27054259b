// The change log: what was changed of the rows that nodes keep in memory (database/change-log). Each
// transaction that changes such rows takes the next revision as its last lock, in a deferred trigger:
// the order of the revisions is the order of the commits, and who has read a revision sees all that
// was committed up to it. The notifications of migration 0002 stay, for servers of the version before.

import type { Knex } from 'knex';

/**
 * The topic of each table, the column that is its key, and the operations that memory must learn of.
 * Nobody remembers that a client, a user or a resource server does not exist.
 */
const LOGGED: readonly { table: string; topic: string; key: string; operations: string; condition?: string }[] = [
  { table: 'clients', topic: 'client', key: 'client_id', operations: 'UPDATE OR DELETE' },
  // Whether any client is to be told of logouts is remembered.
  {
    table: 'clients',
    topic: 'client',
    key: 'client_id',
    operations: 'INSERT',
    condition: 'NEW.backchannel_logout_uri IS NOT NULL',
  },
  { table: 'client_secrets', topic: 'client', key: 'client_id', operations: 'INSERT OR DELETE' },
  // Without last_used_at, which is written often.
  {
    table: 'client_secrets',
    topic: 'client',
    key: 'client_id',
    operations: 'UPDATE OF id, client_id, hash, expires_at',
  },
  { table: 'client_grants', topic: 'client_grants', key: 'client_id', operations: 'INSERT OR UPDATE OR DELETE' },
  { table: 'resource_servers', topic: 'resource_server', key: 'identifier', operations: 'INSERT OR UPDATE OR DELETE' },
  { table: 'users', topic: 'user', key: 'id', operations: 'UPDATE OR DELETE' },
  { table: 'signing_keys', topic: 'signing_key', key: 'kid', operations: 'INSERT OR UPDATE OR DELETE' },
];

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- One row. The value is another one at each change: on a standby that was promoted too early, the
    -- same revision may come again with other changes.
    CREATE TABLE change_revision (
      is_only  boolean PRIMARY KEY DEFAULT true CHECK (is_only),
      revision bigint NOT NULL,
      value    uuid NOT NULL
    ) WITH (fillfactor = 10);
    INSERT INTO change_revision (revision, value) VALUES (0, gen_random_uuid());

    CREATE TABLE change_log (
      revision bigint NOT NULL,
      value    uuid NOT NULL,
      topic    text NOT NULL,
      key      text NOT NULL,
      at       timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (revision, topic, key)
    );
    CREATE INDEX change_log_at ON change_log (at);

    -- Takes the next revision, once in a transaction. Returns its lines so far.
    CREATE FUNCTION lanyard_next_revision() RETURNS change_revision LANGUAGE plpgsql AS $$
    DECLARE
      taken change_revision;
    BEGIN
      SELECT * INTO taken FROM change_revision
        WHERE revision::text = current_setting('lanyard.revision', true);
      IF NOT FOUND THEN
        UPDATE change_revision SET revision = revision + 1, value = gen_random_uuid() RETURNING * INTO taken;
        PERFORM set_config('lanyard.revision', taken.revision::text, true);
        PERFORM set_config('lanyard.lines', '0', true);
      END IF;
      RETURN taken;
    END $$;

    -- More than a thousand keys of a transaction become one line of all, and so does one that no index
    -- could hold.
    CREATE FUNCTION lanyard_log_key(topic text, changed text) RETURNS void LANGUAGE plpgsql AS $$
    DECLARE
      taken change_revision := lanyard_next_revision();
      lines int := current_setting('lanyard.lines')::int + 1;
    BEGIN
      IF changed IS NULL THEN RETURN; END IF;
      PERFORM set_config('lanyard.lines', lines::text, true);
      INSERT INTO change_log (revision, value, topic, key)
        VALUES (taken.revision, taken.value, topic, CASE WHEN lines > 1000 OR octet_length(changed) > 2000 THEN '*' ELSE changed END)
        ON CONFLICT DO NOTHING;
    END $$;

    -- Arguments: the topic, and the column that holds the key.
    CREATE FUNCTION lanyard_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      old_key text := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ->> TG_ARGV[1] END;
      new_key text := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ->> TG_ARGV[1] END;
    BEGIN
      PERFORM lanyard_log_key(TG_ARGV[0], old_key);
      IF new_key IS DISTINCT FROM old_key THEN PERFORM lanyard_log_key(TG_ARGV[0], new_key); END IF;
      RETURN NULL;
    END $$;

    -- A truncation has no deferred triggers. It holds a lock on the table until it is committed.
    CREATE FUNCTION lanyard_log_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM lanyard_log_key(TG_ARGV[0], '*');
      RETURN NULL;
    END $$;
  `);
  for (const [index, { table, topic, key, operations, condition = 'true' }] of LOGGED.entries()) {
    await knex.raw(`
      CREATE CONSTRAINT TRIGGER ${table}_log_${index} AFTER ${operations} ON ${table}
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (${condition})
        EXECUTE FUNCTION lanyard_log_change('${topic}', '${key}')`);
  }
  for (const [table, topic] of truncatable()) {
    await knex.raw(`
      CREATE TRIGGER ${table}_log_truncate AFTER TRUNCATE ON ${table}
        FOR EACH STATEMENT EXECUTE FUNCTION lanyard_log_truncate('${topic}')`);
  }
}

export async function down(knex: Knex): Promise<void> {
  for (const [index, { table }] of LOGGED.entries()) await knex.raw(`DROP TRIGGER ${table}_log_${index} ON ${table}`);
  for (const [table] of truncatable()) await knex.raw(`DROP TRIGGER ${table}_log_truncate ON ${table}`);
  await knex.raw(`
    DROP FUNCTION lanyard_log_truncate;
    DROP FUNCTION lanyard_log_change;
    DROP FUNCTION lanyard_log_key;
    DROP FUNCTION lanyard_next_revision;
    DROP TABLE change_log;
    DROP TABLE change_revision;
  `);
}

function truncatable(): Map<string, string> {
  return new Map(LOGGED.map(({ table, topic }) => [table, topic]));
}
