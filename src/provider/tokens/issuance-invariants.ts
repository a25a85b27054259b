// What holds for every token that is issued, whichever grant and transport it comes from: asked where a token is saved (the adapter,
// for what has a row) or signed (JWT access tokens), after all checks of the request. A breach is a fault of this server: 500.

import { bindingClaims } from '../../client-binding.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import { allAnswers, type Found } from '../../database/cache.ts';
import type { Directory } from '../policy/directory.ts';
import { openIdScopesAt } from '../policy/openid-scopes.ts';
import { scopesOf } from '../policy/requested-scopes.ts';
import { findPermitted, type Permitted } from '../policy/resource-server-policy.ts';
import { delegationOf } from './delegation.ts';

/** Of the engine's models and of their payloads. */
export interface IssuedMembers {
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
  readonly grantId?: string | undefined;
  readonly aud?: string | string[] | undefined;
  readonly scope?: string | undefined;
  readonly jkt?: string | undefined;
  readonly 'x5t#S256'?: string | undefined;
  readonly extra?: Record<string, unknown> | undefined;
}

const ACCESS_TOKENS: readonly string[] = ['AccessToken', 'ClientCredentials'];
/** Always a user's. */
const USER_MODELS: readonly string[] = ['AccessToken', 'RefreshToken', 'AuthorizationCode'];
const ISSUED_MODELS: readonly string[] = [...ACCESS_TOKENS, ...USER_MODELS, 'DeviceCode'];

/** @throws Error, which says what is missing; at once, or when rows have to be loaded, later */
export function assertIssuable(directory: Directory, model: string, token: IssuedMembers): undefined | Promise<void> {
  if (!ISSUED_MODELS.includes(model)) return undefined;
  const { client_id: clientId } = bindingClaims(token.clientId);
  if (USER_MODELS.includes(model) && !hasGrant(token)) throw refusal(model, 'of a user without a grant');
  if (!ACCESS_TOKENS.includes(model)) return undefined;
  // Without an audience it is for userinfo alone.
  const audiences = token.aud === undefined ? [] : Array.isArray(token.aud) ? token.aud : [token.aud];
  const permitted = audiences.map((audience) => findPermitted(directory, audience, clientId));
  const rows = allAnswers<[CachedClient, ...Permitted[]]>([directory.findClient(clientId), ...permitted]);
  return rows instanceof Promise
    ? rows.then((found) => assertAllowed(model, token, found))
    : assertAllowed(model, token, rows);
}

function assertAllowed(
  model: string,
  token: IssuedMembers,
  [client, ...permitted]: Found<[CachedClient, ...Permitted[]]>,
): undefined {
  if (client === undefined) throw refusal(model, 'of a client that does not exist');
  assertBoundToKey(model, client, token);
  for (const policy of permitted) assertWithinPolicy(model, token, policy);
}

/** Its own, or for a token that was exchanged the user's first one. */
function hasGrant({ accountId, grantId, extra }: IssuedMembers): boolean {
  return Boolean(accountId) && Boolean(grantId || delegationOf(extra)?.lanyard_origin.grant_id);
}

/** RFC 7800, RFC 9449 §5.2, RFC 8705 §3.4, FAPI 2.0 Security Profile §5.3.2.1: a client may demand tokens that are bound to its key. */
function assertBoundToKey(model: string, { metadata }: CachedClient, { jkt, 'x5t#S256': x5t }: IssuedMembers): void {
  if (metadata.dpop_bound_access_tokens && jkt === undefined) throw refusal(model, 'without the key of its DPoP proof');
  if (metadata.tls_client_certificate_bound_access_tokens && x5t === undefined) {
    throw refusal(model, 'without the certificate that it must be bound to');
  }
  if (metadata.security_profile !== undefined && jkt === undefined && x5t === undefined) {
    throw refusal(model, 'without a key, for a client with a security profile');
  }
}

/** @param policy of the client at the API that the token is for */
function assertWithinPolicy(model: string, { scope, grantId }: IssuedMembers, policy: Permitted | undefined): void {
  if (policy === undefined) throw refusal(model, 'for an API without a policy row');
  if (policy.isBelowProfile)
    throw refusal(model, 'signed with an algorithm that the security profile of its client excludes');
  if (scope === policy.scope) return;
  // An exchanged token has no grant of its own.
  const isOfUser = model === 'AccessToken' && Boolean(grantId);
  const allowed = new Set([...scopesOf(policy.scope), ...(isOfUser ? openIdScopesAt(policy.resourceServer) : [])]);
  const excess = [...scopesOf(scope)].filter((name) => !allowed.has(name));
  if (excess.length > 0) throw refusal(model, `with scopes outside its policy row: ${excess.join(' ')}`);
}

function refusal(model: string, fault: string): Error {
  return new Error(`refusing to issue a token (${model}) ${fault}`);
}
