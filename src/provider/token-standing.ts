// Does a token still stand? One query answers for JWT and opaque tokens alike: is its client enabled and not revoked, its user
// too, and does the policy row for its audience still exist. Introspection and the admin door both ask here.

import type { TokenAudience } from '../client-binding.ts';
import type { Query } from '../database/database.ts';

export interface IssuedTo {
  readonly clientId: string;
  /** undefined: a token of the client itself */
  readonly accountId: string | undefined;
  /** resource servers that the token is meant for; empty: only for userinfo */
  readonly audiences: readonly string[];
  /** seconds since 1970 */
  readonly issuedAt: number;
}

export interface Standing {
  readonly username: string | undefined;
  readonly audiences: readonly TokenAudience[];
  /** what the policy allows now; undefined when the token has no audience that a policy could speak about */
  readonly allowedScopes: ReadonlySet<string> | undefined;
}

const SQL = {
  name: 'token_standing',
  text: `SELECT c.disabled_at IS NULL AND $4 >= coalesce(c.tokens_not_before, '-infinity') AS client_stands,
           u.disabled_at IS NULL AND $4 >= coalesce(u.tokens_not_before, '-infinity') AS user_stands,
           u.username,
           coalesce((SELECT json_agg(json_build_object('introspection_client_id', r.introspection_client_id,
                                                       'scopes', (SELECT array_agg(s) FROM unnest(g.scopes) s
                                                                  WHERE s = ANY(r.scopes)),
                                                       'is_allowed', g.client_id IS NOT NULL))
                     FROM resource_servers r
                     LEFT JOIN client_grants g ON g.resource_server = r.identifier AND g.client_id = c.client_id
                     WHERE r.identifier = ANY($3)), '[]') AS audiences
         FROM clients c LEFT JOIN users u ON u.id = $2 WHERE c.client_id = $1`,
};

interface Row {
  client_stands: boolean;
  user_stands: boolean;
  username: string | null;
  audiences: { introspection_client_id: string | null; scopes: string[] | null; is_allowed: boolean }[];
}

/** @returns undefined if the token is void */
export async function findStanding(query: Query, token: IssuedTo): Promise<Standing | undefined> {
  const issuedAt = new Date(token.issuedAt * 1000);
  const { rows } = await query<Row>(SQL, [token.clientId, token.accountId ?? null, token.audiences, issuedAt]);
  const row = rows[0];
  if (row === undefined || !row.client_stands) return undefined;
  if (token.accountId !== undefined && (row.username === null || !row.user_stands)) return undefined;

  const allowed = row.audiences.filter((audience) => audience.is_allowed);
  if (token.audiences.length > 0 && allowed.length === 0) return undefined;
  return {
    username: token.accountId === undefined ? undefined : (row.username ?? undefined),
    audiences: row.audiences.map((audience) => ({
      introspectionClientId: audience.introspection_client_id ?? undefined,
      allowsBoundClient: audience.is_allowed,
    })),
    allowedScopes:
      token.audiences.length === 0 ? undefined : new Set(allowed.flatMap((audience) => audience.scopes ?? [])),
  };
}
