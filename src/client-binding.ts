// The binding rule: which client a token was issued to, and which clients may use, introspect,
// revoke or exchange it.
//
// Issuance (provider/tokens/binding-hooks), introspection, revocation, the admin API and the guard
// all call this file. Client ids are compared here only. It is pure, synchronous and imports
// nothing, because the guard runs it in other servers. It fails closed: a token that does not name
// exactly one client is refused.

/** The two claims that name the client a token was issued to. Both are present, and equal. */
export interface BindingClaims {
  /** RFC 9068 §2.2, RFC 7662 §2.2 */
  readonly client_id: string;
  /** OpenID Connect Core §2: the authorized party */
  readonly azp: string;
}

/** The token names no client, or two different ones. It must be refused. */
export class BindingError extends Error {
  readonly reason: 'missing' | 'contradictory';

  constructor(reason: 'missing' | 'contradictory') {
    super(
      reason === 'missing'
        ? 'the token does not name the client it was issued to'
        : 'client_id and azp of the token name different clients',
    );
    this.name = 'BindingError';
    this.reason = reason;
  }
}

/** The token is valid, but its client is not on the allow-list of this API. */
export class ClientNotAllowedError extends Error {
  readonly boundClientId: string;

  constructor(boundClientId: string) {
    super('the token was issued to a client that is not allowed here');
    this.name = 'ClientNotAllowedError';
    this.boundClientId = boundClientId;
  }
}

function isClientId(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

/**
 * The binding claims of a token that is issued to this client.
 * @throws BindingError (`missing`) without a client id, so that no token is issued without one
 */
export function bindingClaims(clientId: unknown): BindingClaims {
  if (!isClientId(clientId)) throw new BindingError('missing');
  return { client_id: clientId, azp: clientId };
}

/**
 * The client that a token was issued to.
 * @param claims of the token, or the members of an introspection response
 * @throws BindingError when either claim is missing or empty, or when they differ
 */
export function boundClientId(claims: { readonly client_id?: unknown; readonly azp?: unknown }): string {
  if (!isClientId(claims.client_id) || !isClientId(claims.azp)) throw new BindingError('missing');
  if (claims.client_id !== claims.azp) throw new BindingError('contradictory');
  return claims.client_id;
}

/** OpenID Connect Core §2: whether the claims are those of an ID token that was issued to this client. */
export function isAuthorizedParty(claims: { readonly azp?: unknown }, clientId: string): boolean {
  return isClientId(clientId) && claims.azp === clientId;
}

/** The client that calls the introspection endpoint. */
export interface IntrospectionCaller {
  readonly clientId: string;
  /** false for a public client (`token_endpoint_auth_method` `none`): its id proves nothing */
  readonly isAuthenticated: boolean;
}

/** The resource server of one of the token's audiences. */
export interface TokenAudience {
  /** the client that this resource server introspects with; undefined without one */
  readonly introspectionClientId: string | undefined;
  /** whether a policy row allows the bound client to call this resource server now */
  readonly allowsBoundClient: boolean;
}

/**
 * RFC 7662 §4: a token may be introspected by the client it was issued to, and by the resource
 * server of one of its audiences as long as that accepts the client. A caller that did not
 * authenticate may introspect nothing (§2.1).
 */
export function mayIntrospect(
  caller: IntrospectionCaller,
  token: { readonly boundClientId: string; readonly audiences: readonly TokenAudience[] },
): boolean {
  if (!isClientId(caller.clientId) || !isClientId(token.boundClientId)) return false;
  if (!caller.isAuthenticated) return false;
  if (caller.clientId === token.boundClientId) return true;
  return token.audiences.some(
    (audience) => audience.introspectionClientId === caller.clientId && audience.allowsBoundClient,
  );
}

/** Whether a grant and a token under it, or two other issued objects, name the same client. */
export function isSameClient(clientId: string | undefined, otherClientId: string | undefined): boolean {
  return isClientId(clientId) && clientId === otherClientId;
}

/** RFC 7009 §2.1: a token may be revoked by the client it was issued to only. */
export function mayRevoke(callerClientId: string, tokenClientId: string): boolean {
  return isClientId(callerClientId) && callerClientId === tokenClientId;
}

/**
 * Checks at a resource server that the token was issued to one of the clients that it accepts.
 * The clients are an allow-list, never "equals my own client id".
 * @returns the bound client id
 * @throws BindingError when the token does not name exactly one client
 * @throws ClientNotAllowedError when that client is not on the list
 */
export function assertBoundTo(
  claims: { readonly client_id?: unknown; readonly azp?: unknown },
  allowedClientIds: readonly string[],
): string {
  const tokenClientId = boundClientId(claims);
  if (!allowedClientIds.includes(tokenClientId)) throw new ClientNotAllowedError(tokenClientId);
  return tokenClientId;
}

/** Which delegation chains (RFC 8693 token exchange) a resource server accepts. */
export interface DelegationRule {
  /** how many times the user's token may have been exchanged */
  readonly maxDepth: number;
  /** clients allowed in the chain, the first one included; undefined: any that policy allows */
  readonly allowedClientIds: readonly string[] | undefined;
}

/**
 * Whether a resource server accepts an exchanged token with this delegation chain. Without a rule
 * it accepts none.
 * @param chain the client that the user's token was issued to, then each client that exchanged it;
 *   the bound client is the last one
 */
export function mayDelegate(chain: readonly string[], rule: DelegationRule | undefined): boolean {
  if (rule === undefined || chain.length < 2 || chain.length - 1 > rule.maxDepth) return false;
  const { allowedClientIds } = rule;
  return chain.every((clientId) => isClientId(clientId) && (allowedClientIds?.includes(clientId) ?? true));
}

/**
 * RFC 8693 §4.4: whether the actor is the one that the `may_act` claim allows; without the claim
 * every actor is. A member other than `sub` and `client_id` (`iss`, say) cannot be checked here, so
 * it matches no actor.
 */
export function mayActFor(mayAct: unknown, actor: { readonly sub: string; readonly client_id: string }): boolean {
  if (mayAct === undefined) return true;
  if (typeof mayAct !== 'object' || mayAct === null) return false;
  const members = Object.entries(mayAct);
  const actorMembers = new Map<string, unknown>(Object.entries(actor));
  return (
    members.length > 0 && members.every(([name, value]) => actorMembers.has(name) && actorMembers.get(name) === value)
  );
}
