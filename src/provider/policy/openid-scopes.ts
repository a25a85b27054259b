// OpenID scopes in tokens for an API. They are about the claims of the user (OpenID Connect Core §5.4), so no policy row has them:
// a token of a user carries those that its authorization request asked for and that the user has granted, and userinfo answers for
// it if openid is one of them. Tokens of a client itself, and exchanged ones, never carry them.

import type { Grant } from 'oidc-provider';
import { OPENID_SCOPES } from '../../clients/client.ts';
import type { CachedResourceServer } from '../../resource-servers/lookup.ts';
import type { Directory } from './directory.ts';
import { scopesOf } from './requested-scopes.ts';
import type { Permitted } from './resource-server-policy.ts';

/**
 * The names that are OpenID scopes in tokens for this API. One that the API has used for a scope of its own since before these names
 * were reserved means that in its tokens: the policy row decides about it, and userinfo does not count it.
 */
export function openIdScopesAt({ scopes }: Pick<CachedResourceServer, 'scopes'>): readonly string[] {
  return OPENID_SCOPES.filter((name) => !scopes.includes(name));
}

/** What a user's token for this API gets of the scopes that the request named. */
export function grantedScope(
  { resourceServer, scope: permitted }: Permitted,
  grant: Grant,
  { resource, asked }: { readonly resource: string; readonly asked: ReadonlySet<string> },
): string {
  const ofPolicy = scopesOf(permitted);
  const ofOpenId = new Set(openIdScopesAt(resourceServer));
  const granted = [
    grant.getOIDCScopeFiltered(new Set([...asked].filter((name) => ofOpenId.has(name)))),
    grant.getResourceScopeFiltered(resource, new Set([...asked].filter((name) => ofPolicy.has(name)))),
  ];
  return granted.filter((scope) => scope !== '').join(' ');
}

/** The scopes of a token that are its API's own. */
export async function apiScopesOf(
  directory: Pick<Directory, 'findResourceServer'>,
  { scopes, aud }: { readonly scopes: ReadonlySet<string>; readonly aud: string },
): Promise<ReadonlySet<string>> {
  const ofOpenId = openIdScopesAt((await directory.findResourceServer(aud)) ?? { scopes: [] });
  return new Set([...scopes].filter((name) => !ofOpenId.includes(name)));
}
