// The tokens that a token exchange presents (RFC 8693 §2.1): the subject, and who acts.
//
// A token may be presented by the client it was issued to, and by the resource server that it is
// meant for. For every other client the answer is that of an invented token: otherwise token
// exchange would turn a stolen token into one of the thief's own.

import { decodeProtectedHeader } from 'jose';
import type Provider from 'oidc-provider';
import { type AccessToken, type Client, errors } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import type { PairwiseIdentifier } from '../clients/pairwise.ts';
import type { Actor } from '../tokens/delegation.ts';
import { findIssuedToken, type IssuedToken } from '../tokens/find-token.ts';
import type { IntrospectionPolicy } from '../tokens/introspection.ts';
import type { JwtAccessTokens } from '../tokens/jwt-access-tokens.ts';
import { hasItsGrant } from '../tokens/token-with-grant.ts';

export interface ExchangeTokensDeps {
  readonly provider: Provider;
  readonly introspectionPolicy: IntrospectionPolicy;
  readonly jwtAccessTokens: Pick<JwtAccessTokens, 'verify' | 'toStored'>;
  readonly pairwiseIdentifier: PairwiseIdentifier;
}

/** The members of a subject token that an exchange reads. */
export type SubjectToken = IssuedToken & {
  readonly accountId: string;
  readonly clientId: string;
  readonly exp: number;
  readonly aud: string;
  readonly grantId?: string;
  readonly extra?: Record<string, unknown>;
};

/** @throws InvalidRequest: RFC 8693 §2.2.2 wants that for one that is "invalid for any reason" */
export async function loadSubject(deps: ExchangeTokensDeps, client: Client, value: string): Promise<SubjectToken> {
  const token = await loadToken(deps, client, value);
  if (token === undefined) throw new errors.InvalidRequest('the subject token is not valid, or not for this client');
  const { accountId, aud } = token as Partial<SubjectToken>;
  if (accountId === undefined) {
    throw new errors.InvalidRequest(
      'only tokens of users can be exchanged; a client asks for its own with client_credentials',
    );
  }
  // Its scopes are about claims of the user. A scope of an API may have the same name, and another
  // meaning.
  if (typeof aud !== 'string') throw new errors.InvalidRequest('a token for userinfo cannot be exchanged');
  return token as SubjectToken;
}

/** Without an actor token it is the client itself. @param value of the actor token */
export async function findActor(
  deps: ExchangeTokensDeps,
  client: Client,
  value: string | readonly string[] | undefined,
): Promise<{ actor: Actor; token: IssuedToken | undefined }> {
  const { clientId } = client;
  if (value === undefined) return { actor: { sub: clientId, client_id: clientId }, token: undefined };
  // A general type says nothing of its purpose (RFC 8725 §3.12).
  if (isGeneralJwt(String(value))) throw new errors.InvalidRequest('a JWT as actor token must have the typ at+jwt');
  const token = await loadToken(deps, client, String(value));
  if (token === undefined || !isSameClient(token.clientId, clientId))
    throw new errors.InvalidRequest('the actor token is not one of this client');
  const { accountId } = token as { accountId?: string };
  return { actor: { sub: await subjectOf(deps, client, accountId), client_id: clientId }, token };
}

/** Opaque tokens are none. */
function isGeneralJwt(value: string): boolean {
  try {
    return decodeProtectedHeader(value).typ === 'JWT';
  } catch {
    return false;
  }
}

/** As the tokens of this client name it. */
async function subjectOf(deps: ExchangeTokensDeps, client: Client, accountId?: string): Promise<string> {
  if (accountId === undefined) return client.clientId;
  return client.subjectType === 'pairwise' ? deps.pairwiseIdentifier(client, accountId) : accountId;
}

/** A valid token that this client may know about. */
async function loadToken(deps: ExchangeTokensDeps, client: Client, value: string): Promise<IssuedToken | undefined> {
  const token = await findIssuedToken(deps, value);
  if (token === undefined || !token.isValid || token.kind === 'RefreshToken') return undefined;
  if (!(await hasItsGrant(deps.provider, token))) return undefined;
  // The policy rewrites `extra` into what its caller may read.
  const { extra } = token as { extra?: object };
  if ((await deps.introspectionPolicy(client, token)) !== 'active') return undefined;
  return Object.assign(token, { extra });
}

/** RFC 7800: what binds a token to a key */
const THUMBPRINTS = ['jkt', 'x5t#S256'] as const;
type Bound = Partial<Record<(typeof THUMBPRINTS)[number], string>>;

/**
 * A client that presents a token of its own must prove the key to which that is bound, and the new
 * one is bound to it too: otherwise an exchange would make a bearer token of it. A resource server
 * does not have the key of the client that called it.
 * @param made the new token, bound to what the client has proven
 * @throws InvalidRequest
 */
export function assertItsKey(presented: IssuedToken, made: AccessToken): void {
  if (!isSameClient(presented.clientId, made.clientId)) return;
  for (const member of THUMBPRINTS) {
    const bound = (presented as Bound)[member];
    if (bound !== undefined && bound !== (made as Bound)[member]) {
      throw new errors.InvalidRequest('the token is bound to a key that this request does not prove');
    }
  }
}
