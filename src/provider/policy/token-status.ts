// Whether a token is still valid, JWT or opaque: its client and its user are enabled and not
// revoked since, and the policy row for its audience exists. Introspection, the storage and the
// admin guard ask here.

import type { TokenAudience } from '../../client-binding.ts';
import { isSelfRegistered } from '../../clients/client.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import { allAnswers } from '../../database/cache.ts';
import { type CachedGrants, type CachedResourceServer, grantAt } from '../../resource-servers/lookup.ts';
import type { CachedUser } from '../../users/lookup.ts';
import type { Directory } from './directory.ts';
import { openIdScopesAt } from './openid-scopes.ts';

export interface IssuedTo {
  readonly clientId: string;
  /** undefined: a token of the client itself */
  readonly accountId: string | undefined;
  /** resource servers that the token is meant for; empty: for userinfo alone */
  readonly audiences: readonly string[];
  /** seconds since 1970 */
  readonly issuedAt: number;
}

export interface TokenStatus {
  /**
   * undefined as well where the client must not be able to tell users apart by more than its
   * pairwise subjects
   */
  readonly username: string | undefined;
  readonly audiences: readonly TokenAudience[];
  /**
   * what the policy allows now, and of a user's token the OpenID scopes; undefined when the token has
   * no audience that a policy could speak about
   */
  readonly allowedScopes: ReadonlySet<string> | undefined;
}

/** @returns undefined if the token is void */
export async function findTokenStatus(directory: Directory, token: IssuedTo): Promise<TokenStatus | undefined> {
  const rows = allAnswers<[CachedClient, CachedUser, CachedGrants]>([
    directory.findClient(token.clientId),
    token.accountId === undefined ? undefined : directory.findUser(token.accountId),
    directory.findGrants(token.clientId),
  ]);
  const [client, user, grants] = rows instanceof Promise ? await rows : rows;
  if (client === undefined || client.isDisabled || isBefore(token, client)) return undefined;
  if (token.accountId !== undefined && (user === undefined || user.isDisabled || isBefore(token, user)))
    return undefined;

  const answers = allAnswers<CachedResourceServer[]>(
    token.audiences.map((audience) => directory.findResourceServer(audience)),
  );
  const resourceServers = answers instanceof Promise ? await answers : answers;
  const known = resourceServers.flatMap((resourceServer, position) =>
    // Found under its other spelling, it is not the audience that the token names.
    resourceServer !== undefined && resourceServer.identifier === token.audiences[position] ? [resourceServer] : [],
  );
  const granted = known.map((resourceServer) => grantAt(resourceServer, grants, isSelfRegistered(client)));
  if (token.audiences.length > 0 && granted.every((grant) => grant === undefined)) return undefined;
  return {
    // OpenID Connect Core §8.1: two clients could recognise the same user by it.
    username: client.metadata.subject_type === 'pairwise' ? undefined : user?.username,
    audiences: known.map(({ introspectionClientId }, position) => ({
      introspectionClientId,
      allowsBoundClient: granted[position] !== undefined,
    })),
    allowedScopes:
      token.audiences.length === 0
        ? undefined
        : new Set(
            known.flatMap((resourceServer, position) => [
              ...resourceServer.scopes.filter((name) => granted[position]?.scopes.includes(name)),
              ...(token.accountId === undefined ? [] : openIdScopesAt(resourceServer)),
            ]),
          ),
  };
}

/** Whether client and user (those that there are) exist and have no later "not before". */
export async function isNotRevoked(
  directory: Directory,
  issued: Pick<IssuedTo, 'accountId' | 'issuedAt'> & { readonly clientId: string | undefined },
): Promise<boolean> {
  if (issued.clientId !== undefined) {
    const client = await directory.findClient(issued.clientId);
    if (client === undefined || isBefore(issued, client)) return false;
  }
  if (issued.accountId !== undefined) {
    const user = await directory.findUser(issued.accountId);
    if (user === undefined || isBefore(issued, user)) return false;
  }
  return true;
}

function isBefore({ issuedAt }: { issuedAt: number }, { tokensNotBefore }: { tokensNotBefore: number }): boolean {
  return issuedAt * 1000 < tokensNotBefore;
}
