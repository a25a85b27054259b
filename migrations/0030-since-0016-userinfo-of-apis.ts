// Whether tokens for an API are accepted at userinfo. The names of the OpenID scopes are reserved from here on: an API that has scopes of such
// names keeps them, and the audit log names it (resource-servers/reserved-scopes logs it at each start).

import type { Knex } from 'knex';

const RESERVED = ['openid', 'offline_access', 'profile', 'email', 'address', 'phone'];

export async function up(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE resource_servers ADD COLUMN userinfo boolean NOT NULL DEFAULT true');
  await knex.raw(
    `INSERT INTO audit_events (type, actor, detail)
     SELECT 'resource_server.scopes_reserved', 'system', jsonb_build_object('resource_server', identifier, 'scopes',
       ARRAY(SELECT scope FROM unnest(scopes) AS scope WHERE scope = ANY(?)))
     FROM resource_servers WHERE scopes && ?::text[] ORDER BY identifier`,
    [RESERVED, RESERVED],
  );
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('ALTER TABLE resource_servers DROP COLUMN userinfo');
}
