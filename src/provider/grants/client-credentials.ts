// A client's own token on the short path (RFC 6749 §4.4).

import type Provider from 'oidc-provider';
import type { ClientCredentials } from 'oidc-provider';
import type { Directory } from '../policy/directory.ts';
import { findPermitted, type ResourcePolicy } from '../policy/resource-server-policy.ts';
import { type FastGrant, hasOnly } from './grant.ts';

export interface FastClientCredentialsDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
}

/** RFC 6749 §3.3 */
const SCOPES = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;

type ResourceServerClass = new (identifier: string, info: object) => ClientCredentials['resourceServer'];

export function fastClientCredentials(deps: FastClientCredentialsDeps): FastGrant {
  const { provider, directory } = deps;
  const { ResourceServer } = provider as unknown as { ResourceServer: ResourceServerClass };
  return async (client, params) => {
    if (!hasOnly(params, ['grant_type', 'scope', 'resource'])) return;
    if (client.clientAuthMethod === 'none' || client.scope !== undefined) return;
    const resource = params.get('resource') ?? (await onlyResourceOf(directory, client.clientId));
    if (resource === undefined || !URL.canParse(resource) || resource.includes('#')) return;
    const permitted = await findPermitted(directory, resource, client.clientId);
    if (permitted === undefined) return;
    const requested = params.get('scope') ?? permitted.scope;
    if (!SCOPES.test(requested)) return;
    const allowed = new Set(permitted.scope.split(' '));
    const scope = [...new Set(requested.split(' '))].filter((name) => allowed.has(name)).join(' ');
    if (scope === '') return;

    const token = new provider.ClientCredentials({ client, scope });
    token.resourceServer = new ResourceServer(resource, deps.resourcePolicy.describe(permitted));
    const value = await token.save();
    return { body: { access_token: value, expires_in: token.expiration, scope, token_type: token.tokenType } };
  };
}

async function onlyResourceOf(directory: Directory, clientId: string): Promise<string | undefined> {
  const [first, second] = (await directory.findGrants(clientId))?.keys() ?? [];
  return second === undefined ? first : undefined;
}
