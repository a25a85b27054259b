// The tokens of a user, which come of a code, a device code or a refresh token: access token, refresh token, ID token.

import type { X509Certificate } from 'node:crypto';
import type Provider from 'oidc-provider';
import { type AccessToken, type Client, errors, type Grant as UserGrant } from 'oidc-provider';
import { isSameIdentifier } from '../../resource-servers/identifier.ts';
import type { CachedUser } from '../../users/lookup.ts';
import { standardClaims } from '../../users/user.ts';
import { createIdToken } from '../engine-internals.ts';
import { detailsForToken, requestedDetails } from '../policy/authorization-details.ts';
import type { Directory } from '../policy/directory.ts';
import { grantedScope } from '../policy/openid-scopes.ts';
import { requestedResources } from '../policy/requested-resources.ts';
import { getPermitted, type Permitted, type ResourcePolicy } from '../policy/resource-server-policy.ts';
import { type Source, UNGRANTED_SCOPE } from '../policy/ungranted-scopes.ts';
import { grantedClaims } from '../tokens/granted-claims.ts';
import type { GrantParameters, TokenResponse } from './grant.ts';
import { bindToKey, boundCertificate, type Proof } from './proof.ts';

export interface UserTokensDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
}

/** What the tokens of one request come of. */
export interface Origin {
  readonly client: Client;
  readonly parameters: GrantParameters;
  readonly proof: Proof;
  readonly source: Source;
  readonly grant: UserGrant;
  readonly user: CachedUser;
}

/** For a code that is redeemed: all three tokens, as far as client and scope ask for them. */
export async function issueUserTokens(deps: UserTokensDeps, origin: Origin, gty: string): Promise<TokenResponse> {
  const { client, proof, source } = origin;
  const certificate = boundCertificate(client, proof);
  const { accessToken, response } = await issueAccessToken(deps, origin, { gty, certificate, scopes: source.scopes });
  const refreshToken = client.grantTypeAllowed('refresh_token')
    ? await issueRefreshToken(deps, origin, { gty, rotations: 0, ...keysOf(client, accessToken) })
    : undefined;
  const idToken = await issueIdToken(deps, origin, accessToken, source.scopes);
  return { ...response, refresh_token: refreshToken, id_token: idToken };
}

/** @throws InvalidGrant when the user does not exist any more, or may not sign in */
export async function findSourceUser(directory: Directory, source: Source): Promise<CachedUser> {
  const user = source.accountId === undefined ? undefined : await directory.findUser(source.accountId);
  if (user === undefined || user.isDisabled) throw new errors.InvalidGrant('referenced account not found');
  return user;
}

/** RFC 9449 §5, RFC 8705 §4: a refresh token of a public client is bound to its key; others authenticate. */
function keysOf(client: Client, { jkt, 'x5t#S256': x5t }: AccessToken) {
  return client.clientAuthMethod === 'none' ? { jkt, 'x5t#S256': x5t } : {};
}

export async function issueRefreshToken(
  { provider }: UserTokensDeps,
  { client, source }: Origin,
  properties: Readonly<Record<string, unknown>> & { readonly gty: string },
): Promise<string> {
  const { accountId, acr, amr, authTime, claims, expiresWithSession, grantId, nonce, rar, resource, scope } = source;
  const token = new provider.RefreshToken({
    ...{ client, acr, amr, authTime, claims, expiresWithSession, nonce, rar, resource },
    ...{ accountId: accountId ?? '', grantId: grantId ?? '', scope: scope ?? '' },
    ...{ sessionUid: source.sessionUid, sid: source.sid, [UNGRANTED_SCOPE]: source[UNGRANTED_SCOPE] },
    ...properties,
  });
  return token.save();
}

interface Access {
  readonly gty: string;
  readonly certificate: X509Certificate | undefined;
  readonly scopes: ReadonlySet<string>;
}

export async function issueAccessToken(deps: UserTokensDeps, origin: Origin, { gty, certificate, scopes }: Access) {
  const { client, proof, source, user } = origin;
  const token = new deps.provider.AccessToken({
    ...{ client, gty, accountId: user.id, grantId: source.grantId ?? '' },
    ...{ expiresWithSession: source.expiresWithSession, sessionUid: source.sessionUid, sid: source.sid },
  } as ConstructorParameters<typeof AccessToken>[0]);
  await bindToKey(token, proof, certificate);
  await applyResource(deps, origin, token, scopes);
  const value = await token.save();
  return {
    accessToken: token,
    response: {
      access_token: value,
      expires_in: token.expiration,
      // RFC 6749 §5.1: a scope that is other than requested is named.
      scope: source.scope ? token.scope : token.scope || undefined,
      token_type: token.tokenType,
      authorization_details: token.rar,
    },
  };
}

/** Audience, scope, claims and authorization details. */
async function applyResource(
  { provider, directory, resourcePolicy }: UserTokensDeps,
  { client, parameters, source, grant }: Origin,
  token: AccessToken,
  scopes: ReadonlySet<string>,
): Promise<void> {
  const resource = resolveResource(requestedResources(parameters), source.resource);
  let permitted: Permitted | undefined;
  if (resource === undefined) {
    token.claims = source.claims;
    token.scope = grant.getOIDCScopeFiltered(new Set(scopes));
  } else {
    permitted = await getPermitted(directory, resource, client.clientId);
    token.resourceServer = new provider.ResourceServer(resource, resourcePolicy.describe(permitted));
    token.scope = grantedScope(permitted, grant, { resource, asked: scopes });
  }
  const requested = requestedDetails(parameters.authorization_details);
  if (requested.length === 0 && source.rar === undefined) return;
  token.rar = detailsForToken(permitted?.resourceServer, { requested, granted: source.rar ?? [] });
}

/**
 * RFC 8707 §2.2: one of the resources that were granted, as the grant names it; without a choice the one that was.
 * @throws InvalidTarget
 */
function resolveResource(
  requested: readonly string[],
  granted: string | readonly string[] | undefined,
): string | undefined {
  const list = [granted ?? []].flat();
  const [resource, ...others] = requested.length > 0 ? requested : list;
  if (others.length > 0) {
    throw new errors.InvalidTarget('a token is for one API: name one of those that were granted with resource');
  }
  if (resource === undefined || list.includes(resource)) return resource;
  const named = list.find((each) => isSameIdentifier(each, resource));
  if (named === undefined) {
    throw new errors.InvalidTarget(
      'the authorization request was not for that API: leave resource out, or name it there',
    );
  }
  return named;
}

/** @returns undefined without the scope openid */
export async function issueIdToken(
  { provider }: UserTokensDeps,
  { client, source, grant, user }: Origin,
  accessToken: AccessToken,
  scopes: ReadonlySet<string>,
): Promise<string | undefined> {
  if (!scopes.has('openid')) return undefined;
  const { acr, amr, authTime, nonce, sid } = source;
  // OpenID Connect Core §5.4: the claims of the other scopes are at userinfo. Not every token for an
  // API is accepted there, so with one for an API they are in the ID token.
  const isBare = accessToken.aud === undefined && client.id_token_claims !== 'scopes';
  const available = { ...standardClaims(user), sub: user.id, acr, amr, auth_time: authTime };
  const token = createIdToken(
    provider,
    available,
    { client },
    {
      scope: isBare ? 'openid' : grant.getOIDCScopeFiltered(new Set(scopes)),
      ...grantedClaims(source.claims, 'id_token', grant),
    },
  );
  token.set('nonce', nonce);
  token.set('sid', sid);
  return token.issue({ use: 'idtoken' });
}
