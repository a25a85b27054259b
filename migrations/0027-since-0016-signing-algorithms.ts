// Clients are signed for with RS256 where they name no algorithm (clients/client); until here it was
// ES256, and mostly not written down. What verifies these signatures is configured elsewhere, so each
// client that exists keeps ES256. The trigger does the same for what servers of the version before
// still register; a later release drops it.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE FUNCTION lanyard_former_algorithms(metadata jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
      SELECT '{"id_token_signed_response_alg": "ES256", "authorization_signed_response_alg": "ES256",
               "introspection_signed_response_alg": "ES256"}' || metadata
    $$;
    CREATE FUNCTION lanyard_write_former_algorithms() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.metadata := lanyard_former_algorithms(NEW.metadata);
      RETURN NEW;
    END $$;
    CREATE TRIGGER clients_former_algorithms BEFORE INSERT OR UPDATE OF metadata ON clients
      FOR EACH ROW EXECUTE FUNCTION lanyard_write_former_algorithms();

    UPDATE clients SET metadata = lanyard_former_algorithms(metadata), version = version + 1
      WHERE metadata <> lanyard_former_algorithms(metadata);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TRIGGER clients_former_algorithms ON clients;
    DROP FUNCTION lanyard_write_former_algorithms;
    DROP FUNCTION lanyard_former_algorithms;
  `);
}
