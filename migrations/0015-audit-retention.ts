// Old audit events may be deleted (LANYARD_AUDIT_RETENTION_DAYS): by pruning only, which sets a
// flag in its transaction, and never those of the last seven days. None can be changed.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TRIGGER audit_events_insert_only ON audit_events;
    CREATE TRIGGER audit_events_insert_only BEFORE UPDATE OR TRUNCATE ON audit_events
      FOR EACH STATEMENT EXECUTE FUNCTION lanyard_refuse_change();

    CREATE FUNCTION lanyard_keep_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF coalesce(current_setting('lanyard.sweeps_audit_events', true), '') <> 'on' THEN
        RAISE EXCEPTION 'audit events are insert only';
      END IF;
      -- In hours, because days vary with daylight saving. One second less for rounding in pruning.
      IF OLD.at >= now() - interval '168 hours' + interval '1 second' THEN
        RAISE EXCEPTION 'audit events are kept for seven days at least';
      END IF;
      RETURN OLD;
    END $$;
    CREATE TRIGGER audit_events_kept BEFORE DELETE ON audit_events
      FOR EACH ROW EXECUTE FUNCTION lanyard_keep_audit_event();

    -- 5 % instead of 20 %, as for tokens.
    ALTER TABLE audit_events SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 10000);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    ALTER TABLE audit_events RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold);
    DROP TRIGGER audit_events_kept ON audit_events;
    DROP FUNCTION lanyard_keep_audit_event;
    DROP TRIGGER audit_events_insert_only ON audit_events;
    CREATE TRIGGER audit_events_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
      FOR EACH STATEMENT EXECUTE FUNCTION lanyard_refuse_change();
  `);
}
