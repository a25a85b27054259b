// A client's own token (RFC 6749 §4.4).

import type Provider from 'oidc-provider';
import { type Client, errors } from 'oidc-provider';
import { detailsForToken, requestedDetails } from '../policy/authorization-details.ts';
import type { DefaultResource } from '../policy/default-resource.ts';
import type { Directory } from '../policy/directory.ts';
import { requestedResources } from '../policy/requested-resources.ts';
import { assertOpenIdScopes, scopesOf } from '../policy/requested-scopes.ts';
import { getPermitted, type Permitted, type ResourcePolicy } from '../policy/resource-server-policy.ts';
import type { Grant, GrantParameters, TokenResponse } from './grant.ts';
import { assertProven, bindToKey, boundCertificate, type Proof } from './proof.ts';

export interface ClientCredentialsDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
  readonly defaultResource: Pick<DefaultResource, 'find'>;
}

export function clientCredentials(deps: ClientCredentialsDeps): Grant {
  return {
    type: 'client_credentials',
    parameters: ['scope', 'resource', 'audience', 'authorization_details'],
    required: [],
    repeatable: ['resource'],
    issue: (client, parameters, proof) => issueOwnToken(deps, client, parameters, proof),
  };
}

async function issueOwnToken(
  deps: ClientCredentialsDeps,
  client: Client,
  parameters: GrantParameters,
  proof: Proof,
): Promise<TokenResponse> {
  const { provider, resourcePolicy } = deps;
  const [resource, permitted] = await findTarget(deps, client, parameters);
  const scope = narrowed(client, parameters.scope, permitted.scope);
  assertProven(client, proof);

  const token = new provider.ClientCredentials({ client, scope });
  token.resourceServer = new provider.ResourceServer(resource, resourcePolicy.describe(permitted));
  await bindToKey(token, proof, boundCertificate(client, proof));
  const requested = requestedDetails(parameters.authorization_details);
  // No user was asked: the policy row alone decides.
  token.rar = detailsForToken(permitted.resourceServer, { requested, granted: requested });
  const value = await token.save();
  return {
    access_token: value,
    expires_in: token.expiration,
    scope,
    token_type: token.tokenType,
    authorization_details: token.rar,
  };
}

/** @throws InvalidTarget, InvalidScope */
async function findTarget(
  { directory, defaultResource }: ClientCredentialsDeps,
  { clientId }: Client,
  parameters: GrantParameters,
): Promise<[resource: string, Permitted]> {
  const [named, ...others] = requestedResources(parameters);
  if (others.length > 0) {
    throw new errors.InvalidTarget('only a single resource indicator value is supported for this grant type');
  }
  if (named !== undefined) return [named, await getPermitted(directory, named, clientId)];
  const permitted = await defaultResource.find({ clientId, scope: parameters.scope?.toString(), hasUser: false });
  return [permitted.resourceServer.identifier, permitted];
}

/**
 * RFC 6749 §3.3: without `scope` the client gets what its policy row has. A client that names only scopes which were not granted
 * gets no token: one without any would be answered without `scope`, which means "as requested" (§5.1).
 */
function narrowed(client: Client, requested: GrantParameters['scope'], granted: string): string | undefined {
  if (requested === undefined) return granted || undefined;
  const names = scopesOf(requested);
  const scope = [...names].filter((name) => scopesOf(granted).has(name)).join(' ');
  if (scope === '') {
    throw new errors.InvalidScope('this client was granted none of the requested scopes', String(requested));
  }
  assertOpenIdScopes(client, names);
  return scope;
}
