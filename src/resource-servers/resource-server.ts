// A resource server: an API, named by its identifier, which is the audience of the tokens meant for it. The policy
// ("client C may call resource server R with scopes S") is a ClientGrant; without one there is no token.

import { LRUCache } from 'lru-cache';
import type { DelegationRule } from '../client-binding.ts';

/** However long a resource server wants its tokens to live. */
export const MAX_ACCESS_TOKEN_SECONDS = 86_400;

export interface ResourceServer {
  /** absolute URI without a fragment (RFC 8707 §2), compared as it was registered */
  readonly identifier: string;
  readonly name: string;
  readonly scopes: readonly string[];
  readonly accessTokenFormat: 'jwt' | 'opaque';
  /** undefined: the configured default */
  readonly accessTokenTtlSeconds: number | undefined;
  /** the client with which this API introspects; undefined: it does not */
  readonly introspectionClientId: string | undefined;
  readonly authorizationDetailsTypes: AuthorizationDetailsTypes;
  /** undefined: accepts no token that was exchanged */
  readonly delegation: DelegationRule | undefined;
  /** for software that registered itself and has no policy row; undefined: none gets in */
  readonly selfRegisteredScopes: readonly string[] | undefined;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type ResourceServerInput = Pick<
  ResourceServer,
  | 'name'
  | 'scopes'
  | 'accessTokenFormat'
  | 'accessTokenTtlSeconds'
  | 'introspectionClientId'
  | 'authorizationDetailsTypes'
  | 'delegation'
  | 'selfRegisteredScopes'
>;

/** What clients may ask for in detail (RFC 9396), by type. */
export type AuthorizationDetailsTypes = Readonly<Record<string, AuthorizationDetailsType>>;

export interface AuthorizationDetailsType {
  /** what a user reads on the consent page */
  readonly description: string;
  /** JSON Schema (2020-12) of one authorization detail; undefined: only the members of RFC 9396 §2.2 */
  readonly schema?: Readonly<Record<string, unknown>> | undefined;
}

export interface ClientGrant {
  readonly clientId: string;
  readonly resourceServer: string;
  readonly scopes: readonly string[];
  /** the client may exchange tokens of users for tokens for this resource server (RFC 8693) */
  readonly mayExchange: boolean;
  /** the one client that may act with tokens of users that this client gets here (RFC 8693 §4.4); undefined: none is named */
  readonly mayActClientId: string | undefined;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

export type ClientGrantInput = Pick<ClientGrant, 'scopes' | 'mayExchange' | 'mayActClientId'>;

/** As the row has it. */
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

/**
 * The one other spelling under which the same identifier is asked for: an empty path and "/" are equivalent for http(s)
 * (RFC 3986 §6.2.3), and clients that normalise URLs add the slash. Any other difference is another identifier.
 */
export function otherSpelling(identifier: string): string {
  const url = URL.parse(identifier);
  if (url === null || !/^https?:$/.test(url.protocol)) return identifier;
  if (identifier === `${url.protocol}//${url.host}`) return `${identifier}/`;
  if (identifier === `${url.protocol}//${url.host}/`) return identifier.slice(0, -1);
  return identifier;
}

/** The engine keeps the spelling that it was asked with, so that who compares with what it has kept must know both. */
export function spellings(identifier: string): string[] {
  return [...new Set([identifier, otherSpelling(identifier)])];
}

/** Parsing a URL is dear where every request asks. */
const canonical = new LRUCache<string, string>({ max: 2_000 });

/** One spelling for both, to remember it by. */
export function canonicalSpelling(identifier: string): string {
  // With a path there is no other spelling.
  const slash = identifier.indexOf('/', identifier.indexOf('://') + 3);
  if (slash !== -1 && slash < identifier.length - 1) return identifier;
  const known = canonical.get(identifier);
  if (known !== undefined) return known;
  const [first] = spellings(identifier).sort() as [string];
  canonical.set(identifier, first);
  return first;
}
