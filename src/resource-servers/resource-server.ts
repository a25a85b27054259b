// A resource server: an API, named by its identifier, which is the audience of its tokens. A
// ClientGrant is a policy row ("client C may call resource server R with scopes S"); without one no
// token is issued.

import type { DelegationRule } from '../client-binding.ts';
import type { AccessTokenType } from '../guard/access-token-type.ts';
import type { AccessTokenAlgorithm } from './access-token-signing.ts';

/** The longest lifetime that a resource server can ask for. */
export const MAX_ACCESS_TOKEN_SECONDS = 86_400;

export interface ResourceServer {
  /** absolute URI without a fragment (RFC 8707 §2), as it was registered */
  readonly identifier: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly accessTokenFormat: 'jwt' | 'opaque';
  /** of JWTs */
  readonly accessTokenAlgorithm: AccessTokenAlgorithm;
  /** the `typ` of JWTs */
  readonly accessTokenType: AccessTokenType;
  /** undefined: the configured default */
  readonly accessTokenTtlSeconds: number | undefined;
  /** the client as which this API introspects; undefined: it does not */
  readonly introspectionClientId: string | undefined;
  readonly authorizationDetailsTypes: AuthorizationDetailsTypes;
  /** undefined: accepts no exchanged token */
  readonly delegation: DelegationRule | undefined;
  /** of dynamically registered clients without a policy row; undefined: they get no token */
  readonly selfRegisteredScopes: readonly string[] | undefined;
  /** users' tokens for this API that carry openid are accepted at userinfo */
  readonly acceptedAtUserinfo: boolean;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type ResourceServerInput = Pick<
  ResourceServer,
  | 'name'
  | 'scopes'
  | 'accessTokenFormat'
  | 'accessTokenAlgorithm'
  | 'accessTokenType'
  | 'accessTokenTtlSeconds'
  | 'introspectionClientId'
  | 'authorizationDetailsTypes'
  | 'delegation'
  | 'selfRegisteredScopes'
  | 'acceptedAtUserinfo'
>;

/** What a registration may leave out. */
export const RESOURCE_SERVER_DEFAULTS: ResourceServerInput = {
  name: '',
  scopes: [],
  accessTokenFormat: 'jwt',
  accessTokenAlgorithm: 'ES256',
  accessTokenType: 'at+jwt',
  accessTokenTtlSeconds: undefined,
  introspectionClientId: undefined,
  authorizationDetailsTypes: {},
  delegation: undefined,
  selfRegisteredScopes: undefined,
  acceptedAtUserinfo: true,
};

/** The types of authorization details that clients may ask for (RFC 9396), by name. */
export type AuthorizationDetailsTypes = Readonly<Record<string, AuthorizationDetailsType>>;

export interface AuthorizationDetailsType {
  /** shown on the consent page */
  readonly description: string;
  /** JSON Schema (2020-12) of a detail; undefined: only the members of RFC 9396 §2.2 */
  readonly schema?: Readonly<Record<string, unknown>> | undefined;
}

export interface ClientGrant {
  readonly clientId: string;
  readonly resourceServer: string;
  readonly scopes: readonly string[];
  /** the client may exchange tokens of users for tokens for this resource server (RFC 8693) */
  readonly mayExchange: boolean;
  /** the one client that may exchange users' tokens of this client (RFC 8693 §4.4) */
  readonly mayActClientId: string | undefined;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type ClientGrantInput = Pick<ClientGrant, 'scopes' | 'mayExchange' | 'mayActClientId'>;

/** As in the row. */
export interface StoredDelegation {
  readonly max_depth: number;
  readonly allowed_clients: readonly string[] | null;
}

export function toDelegation(stored: StoredDelegation | null): DelegationRule | undefined {
  if (stored === null) return undefined;
  return { maxDepth: stored.max_depth, allowedClientIds: stored.allowed_clients ?? undefined };
}

export function fromDelegation(rule: DelegationRule | undefined): StoredDelegation | null {
  if (rule === undefined) return null;
  return { max_depth: rule.maxDepth, allowed_clients: rule.allowedClientIds ?? null };
}
