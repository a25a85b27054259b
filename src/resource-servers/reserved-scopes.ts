// APIs that have scopes of names that have been reserved since. Such a name keeps its meaning in the tokens of that API
// (provider/policy/openid-scopes); an operator should rename it.

import type { Query } from '../database/database.ts';
import type { Log } from '../log.ts';

const FIND = {
  name: 'resource_server_reserved_scopes',
  text: `SELECT identifier, ARRAY(SELECT scope FROM unnest(scopes) AS scope WHERE scope = ANY($1)) AS scopes
         FROM resource_servers WHERE scopes && $1::text[] ORDER BY identifier`,
};

export async function warnOfReservedScopes(query: Query, reserved: readonly string[], log: Log): Promise<void> {
  const { rows } = await query<{ identifier: string; scopes: string[] }>(FIND, [reserved]);
  for (const { identifier, scopes } of rows) {
    const message = 'an API has scopes with names of OpenID Connect; rename them: docs/operations.md#reserved-scopes';
    log.warn({ resource_server: identifier, scopes }, message);
  }
}
