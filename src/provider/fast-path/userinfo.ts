// GET /oauth2/userinfo on the short path (OpenID Connect Core §5.3): a Bearer token of a user, answered as JSON.

import type Provider from 'oidc-provider';
import type { Client } from 'oidc-provider';
import { standardClaims } from '../../users/user.ts';
import type { Directory } from '../policy/directory.ts';
import { modelByPrefix } from '../tokens/token-prefixes.ts';
import type { FindTokenWithGrant } from '../tokens/token-with-grant.ts';
import type { FastEndpoint } from './fast-endpoint.ts';

export interface FastUserinfoDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly findTokenWithGrant: FindTokenWithGrant;
}

const BEARER = /^Bearer ([\w-]+)$/;

/** The engine's choice of claims by scope. It has no type. */
type Claims = new (
  available: object,
  options: { client: Client },
) => { scope(scope: string): unknown; result(): Promise<object> };

export function fastUserinfo({ provider, directory, findTokenWithGrant }: FastUserinfoDeps): FastEndpoint {
  const { Claims } = provider as unknown as { Claims: Claims };
  return {
    exposedHeaders: 'DPoP-Nonce,WWW-Authenticate',
    takes: ({ method, headers }) => method === 'GET' && headers['content-length'] === undefined,

    async answer({ headers }) {
      const [, value = ''] = BEARER.exec(headers.authorization ?? '') ?? [];
      if (modelByPrefix(value) !== 'AccessToken') return;
      const { source: token, grant } = (await findTokenWithGrant('AccessToken', value)) ?? {};
      // Bound to a key; for a resource server; with the claims parameter (§5.5): not plain.
      if (token === undefined || grant === undefined || token.isSenderConstrained()) return;
      if (token.aud !== undefined || token.claims !== undefined || !token.scopes.has('openid')) return;
      if (grant.rejected !== undefined) return;
      const client = await provider.Client.find(token.clientId as string);
      const user = await directory.findUser(token.accountId);
      if (client === undefined || user === undefined || user.isDisabled) return;
      if (client.userinfoSignedResponseAlg !== undefined) return;
      const claims = new Claims(standardClaims(user), { client });
      claims.scope(grant.getOIDCScopeFiltered(token.scopes));
      return claims.result();
    },
  };
}
