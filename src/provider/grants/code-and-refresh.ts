// A user's tokens on the short path: a code exchanged (RFC 6749 §4.1.3, RFC 7636 §4.6), and a refresh (RFC 6749 §6) with rotation
// for public clients. Step for step what the engine's handlers do when nothing is special about the request: no key that the tokens
// are bound to, no claims parameter, no authorization details, one resource at most.

import { hash, timingSafeEqual } from 'node:crypto';
import type Provider from 'oidc-provider';
import type { AccessToken, AuthorizationCode, Client, Grant, IdToken, RefreshToken } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import { standardClaims } from '../../users/user.ts';
import type { Directory } from '../policy/directory.ts';
import { findPermitted, type ResourcePolicy } from '../policy/resource-server-policy.ts';
import type { FindTokenWithGrant } from '../tokens/token-with-grant.ts';
import { type FastGrant, hasOnly } from './grant.ts';

export interface FastUserGrantsDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly findTokenWithGrant: FindTokenWithGrant;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
}

type Source = AuthorizationCode | RefreshToken;

/** What makes a code or refresh token the engine's business: keys, the claims parameter, authorization details. */
const SPECIAL = ['jkt', 'x5t#S256', 'dpopJkt', 'attestationJkt', 'claims', 'rar'] as const;

/** The engine's own members of an ID token that its types do not tell about. */
interface ClaimsChoice {
  scope: string;
  mask: object;
  rejected: readonly string[];
}

type ResourceServerClass = new (identifier: string, info: object) => AccessToken['resourceServer'];

/** RFC 7636 §4.1 */
const CODE_VERIFIER = /^[\w.~-]{43,128}$/;

export function fastCodeExchange(deps: FastUserGrantsDeps): FastGrant {
  const { provider } = deps;
  return async (client, params) => {
    if (!hasOnly(params, ['grant_type', 'code', 'redirect_uri', 'code_verifier'])) return;
    const { source: code, grant } =
      (await deps.findTokenWithGrant('AuthorizationCode', params.get('code') ?? '')) ?? {};
    if (code === undefined || grant === undefined || !isPlain(code, client)) return;
    if (code.redirectUri !== params.get('redirect_uri')) return;
    if (!isProvenBy(params.get('code_verifier'), code.codeChallenge, code.codeChallengeMethod)) return;

    const issue = await prepare(deps, client, code, grant);
    if (issue === undefined) return;
    await code.consume();
    const gty = 'authorization_code';
    const accessToken = await issue.accessToken(gty);
    const refreshToken = client.grantTypeAllowed('refresh_token')
      ? await new provider.RefreshToken({ ...inherited(code), client, gty, rotations: 0 }).save()
      : undefined;
    return { body: { ...accessToken, refresh_token: refreshToken }, idToken: issue.idToken(accessToken) };
  };
}

export function fastRefresh(deps: FastUserGrantsDeps): FastGrant {
  const { provider } = deps;
  return async (client, params) => {
    if (!hasOnly(params, ['grant_type', 'refresh_token'])) return;
    const presented = params.get('refresh_token') ?? '';
    const { source: old, grant } = (await deps.findTokenWithGrant('RefreshToken', presented)) ?? {};
    if (old === undefined || grant === undefined || !isPlain(old, client)) return;

    const issue = await prepare(deps, client, old, grant);
    if (issue === undefined) return;
    let refreshToken = presented;
    const gty = withRefresh(old.gty);
    // RFC 9700 §4.14.2, as the engine is told in protocol.ts
    if (client.clientAuthMethod === 'none') {
      await old.consume();
      const { iiat, rotations = 0 } = old;
      const rotated = { ...inherited(old), client, gty, iiat, rotations: rotations + 1 };
      refreshToken = await new provider.RefreshToken(rotated).save();
    }
    const accessToken = await issue.accessToken(gty);
    return { body: { ...accessToken, refresh_token: refreshToken }, idToken: issue.idToken(accessToken) };
  };
}

/** The grants that led to a token, the latest last. */
function withRefresh(gty: string | undefined): string {
  const before = gty ?? '';
  return before.endsWith('refresh_token') ? before : `${before} refresh_token`.trim();
}

function isPlain(source: Source, client: Client): boolean {
  const { resource } = source;
  return (
    isSameClient(source.clientId, client.clientId) &&
    !Array.isArray(resource) &&
    SPECIAL.every((name) => (source as Partial<Record<(typeof SPECIAL)[number], unknown>>)[name] === undefined)
  );
}

/** RFC 7636 §4.6. A code without a challenge is of a client that need not use PKCE. */
function isProvenBy(verifier: string | undefined, challenge: string | undefined, method: string | undefined): boolean {
  if (challenge === undefined) return verifier === undefined;
  if (verifier === undefined || method !== 'S256' || !CODE_VERIFIER.test(verifier)) return false;
  const [expected, actual] = [Buffer.from(challenge), Buffer.from(hash('sha256', verifier, 'base64url'))];
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

/** What a refresh token has from the code or the refresh token before it. */
function inherited(source: Source) {
  const { accountId, acr, amr, authTime, expiresWithSession, grantId, nonce, resource, scope, sessionUid, sid } =
    source;
  return {
    ...{ acr, amr, authTime, expiresWithSession, nonce, resource, sessionUid, sid },
    ...{ accountId: accountId as string, grantId: grantId as string, scope: scope as string },
  };
}

interface Issuing {
  /** @returns the members of the answer that tell about it */
  accessToken(gty: string): Promise<IssuedAccessToken>;
  /** @returns undefined if nobody asked who the user is */
  idToken(accessToken: IssuedAccessToken): Promise<string | undefined>;
}

interface IssuedAccessToken {
  readonly access_token: string;
  readonly expires_in: number;
  readonly scope: string | undefined;
  readonly token_type: string;
  /** is not part of the answer */
  readonly [AUDIENCE]: AccessToken['aud'];
}

const AUDIENCE = Symbol('audience');

/** Asks whether user and policy still stand. Nothing is written before the answer. @returns undefined if something is amiss */
async function prepare(
  { provider, directory, resourcePolicy }: FastUserGrantsDeps,
  client: Client,
  source: Source,
  grant: Grant,
): Promise<Issuing | undefined> {
  const user = await directory.findUser(source.accountId as string);
  if (user === undefined || user.isDisabled || grant.rejected !== undefined) return undefined;
  const resource = source.resource as string | undefined;
  const permitted = resource === undefined ? undefined : await findPermitted(directory, resource, client.clientId);
  if (resource !== undefined && permitted === undefined) return undefined;
  const { ResourceServer } = provider as unknown as { ResourceServer: ResourceServerClass };

  return {
    async accessToken(gty) {
      const { accountId, expiresWithSession, grantId, sessionUid, sid } = source;
      const properties = { accountId, expiresWithSession, grantId, sessionUid, sid, client, gty };
      const token = new provider.AccessToken(properties as ConstructorParameters<typeof AccessToken>[0]);
      if (permitted === undefined) {
        token.scope = grant.getOIDCScopeFiltered(source.scopes);
      } else {
        const description = resourcePolicy.describe(permitted);
        token.resourceServer = new ResourceServer(resource as string, description);
        const allowed = new Set(description.scope.split(' '));
        const scopes = new Set([...source.scopes].filter((name) => allowed.has(name)));
        token.scope = grant.getResourceScopeFiltered(resource as string, scopes);
      }
      const value = await token.save();
      return {
        access_token: value,
        expires_in: token.expiration,
        scope: source.scope ? token.scope : token.scope || undefined,
        token_type: token.tokenType,
        [AUDIENCE]: token.aud,
      };
    },

    async idToken({ [AUDIENCE]: audience }) {
      if (!source.scopes.has('openid')) return undefined;
      const { acr, amr, authTime, nonce, sid } = source;
      const claims = { ...standardClaims(user), acr, amr, auth_time: authTime };
      const token = new provider.IdToken(claims as never, { client } as never) as IdToken & ClaimsChoice;
      // OpenID Connect Core §5.4: the claims of the other scopes are at the userinfo endpoint, if the access token opens that.
      token.scope = audience === undefined ? 'openid' : grant.getOIDCScopeFiltered(source.scopes);
      token.mask = {};
      token.rejected = [];
      token.set('nonce', nonce);
      token.set('sid', sid);
      return token.issue({ use: 'idtoken' } as never);
    },
  };
}
