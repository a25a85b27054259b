// THE RULE: which client a token belongs to, and who may use, introspect or revoke it.
//
// Issuance (provider/binding-hooks), introspection, revocation, the admin API and the resource-server guard all ask here;
// nobody else compares client ids. Everything in this file is pure and synchronous and it imports nothing, so that the
// guard can run it inside somebody else's process. In doubt it refuses: a token without a clear owner belongs to nobody.

/** The two claims that name the client a token was issued to. Always both, always equal. */
export interface BindingClaims {
  /** RFC 9068 §2.2, RFC 7662 §2.2 */
  readonly client_id: string;
  /** OpenID Connect Core §2: the authorized party */
  readonly azp: string;
}

/** A token that names no client, or two different ones. It must be refused. */
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

/** A valid token that was issued to a client which is not on the allow-list of this API. */
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
 * What every token carries.
 * @throws BindingError (`missing`) when there is no client to bind to, so that nothing can be issued without one.
 */
export function bindingClaims(clientId: unknown): BindingClaims {
  if (!isClientId(clientId)) throw new BindingError('missing');
  return { client_id: clientId, azp: clientId };
}

/**
 * The one client that a token (its claims, or an introspection answer) belongs to.
 * @throws BindingError when either claim is missing or empty, or when they differ.
 */
export function boundClientId(claims: { readonly client_id?: unknown; readonly azp?: unknown }): string {
  if (!isClientId(claims.client_id) || !isClientId(claims.azp)) throw new BindingError('missing');
  if (claims.client_id !== claims.azp) throw new BindingError('contradictory');
  return claims.client_id;
}

/** Who asks, at introspection. */
export interface IntrospectionCaller {
  readonly clientId: string;
  /** false for a public client (`token_endpoint_auth_method` `none`): anybody can claim to be it */
  readonly isAuthenticated: boolean;
}

/** The resource server of one of the token's audiences. */
export interface TokenAudience {
  /** the client that this resource server introspects with; undefined when it has none */
  readonly introspectionClientId: string | undefined;
  /** whether the policy row "bound client may call this resource server" stands now */
  readonly allowsBoundClient: boolean;
}

/**
 * RFC 7662 §4: only the bound client itself, and the resource server of one of the audiences that still accepts the
 * bound client, learn anything about a token. A caller that did not authenticate learns about its own tokens only.
 */
export function mayIntrospect(
  caller: IntrospectionCaller,
  token: { readonly boundClientId: string; readonly audiences: readonly TokenAudience[] },
): boolean {
  if (!isClientId(caller.clientId) || !isClientId(token.boundClientId)) return false;
  if (caller.clientId === token.boundClientId) return true;
  if (!caller.isAuthenticated) return false;
  return token.audiences.some(
    (audience) => audience.introspectionClientId === caller.clientId && audience.allowsBoundClient,
  );
}

/** Whether two things that were issued (a grant and a token under it) name the same client. */
export function isSameClient(clientId: string | undefined, otherClientId: string | undefined): boolean {
  return isClientId(clientId) && clientId === otherClientId;
}

/** RFC 7009 §2.1: a token is revoked by the client it was issued to, by nobody else. */
export function mayRevoke(callerClientId: string, tokenClientId: string): boolean {
  return isClientId(callerClientId) && callerClientId === tokenClientId;
}

/**
 * The guard's question: was this token issued to one of the clients that this API accepts?
 * The check is an allow-list, never "equals my own client id".
 * @returns the bound client id
 * @throws BindingError when the token names no client or two; ClientNotAllowedError when it is not on the list.
 */
export function assertBoundTo(
  claims: { readonly client_id?: unknown; readonly azp?: unknown },
  allowedClientIds: readonly string[],
): string {
  const tokenClientId = boundClientId(claims);
  if (!allowedClientIds.includes(tokenClientId)) throw new ClientNotAllowedError(tokenClientId);
  return tokenClientId;
}

/** How far tokens for a resource server may be handed on by token exchange, and through whose hands. */
export interface DelegationRule {
  /** how often the token of a user may have been exchanged */
  readonly maxDepth: number;
  /** who may be in the chain, its first client included; undefined: whoever the policy lets exchange */
  readonly allowedClientIds: readonly string[] | undefined;
}

/**
 * Whether a resource server accepts a token that went through these hands. Deny by default: without a rule none was handed on.
 * @param chain the client that the user's token was issued to, then each client that exchanged it, the bound client last
 */
export function mayDelegate(chain: readonly string[], rule: DelegationRule | undefined): boolean {
  if (rule === undefined || chain.length < 2 || chain.length - 1 > rule.maxDepth) return false;
  const { allowedClientIds } = rule;
  return chain.every((clientId) => isClientId(clientId) && (allowedClientIds?.includes(clientId) ?? true));
}

/**
 * RFC 8693 §4.4: whoever a token names as the one who may act for its subject; it need not name anybody. A name that this rule
 * does not know (`iss`: somebody of another server) is nobody here.
 */
export function mayActFor(mayAct: unknown, actor: { readonly sub: string; readonly client_id: string }): boolean {
  if (mayAct === undefined) return true;
  if (typeof mayAct !== 'object' || mayAct === null) return false;
  const named = Object.entries(mayAct);
  return (
    named.length > 0 && named.every(([name, value]) => Object.hasOwn(actor, name) && actor[name as 'sub'] === value)
  );
}
