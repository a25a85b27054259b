// A user's token or code together with what it depends on: the grant of the user, and the session of the browser if it ends with
// that. One round trip to the database, one implementation for grants, introspection and userinfo.

import type Provider from 'oidc-provider';
import type { AccessToken, AuthorizationCode, Grant, RefreshToken } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import { reviveModel } from '../engine-internals.ts';
import type { Directory } from '../policy/directory.ts';
import { isNotRevoked } from '../policy/token-status.ts';
import type { ArtifactStore, StoredArtifact } from '../storage/artifact-store.ts';
import { artifactId } from '../storage/artifacts.ts';
import type { IssuedToken } from './find-token.ts';
import { hasOtherPrefix } from './token-prefixes.ts';

interface Owned {
  readonly clientId?: string | undefined;
  readonly accountId?: string | undefined;
}

interface Models {
  AccessToken: AccessToken;
  RefreshToken: RefreshToken;
  AuthorizationCode: AuthorizationCode;
}

export interface TokenWithGrant<Source> {
  /** may have expired */
  readonly source: Source;
  /** seconds since 1970 */
  readonly consumedAt: number | undefined;
  /** undefined: there is none, or it is not valid, or it is that of another client or user */
  readonly grant: Grant | undefined;
}

/** @returns undefined if there is none, it has been revoked, or the session that it ends with has ended */
export type FindTokenWithGrant = <Model extends keyof Models>(
  model: Model,
  value: string,
) => Promise<TokenWithGrant<Models[Model]> | undefined>;

export interface TokenWithGrantDeps {
  readonly provider: Provider;
  readonly artifactStore: Pick<ArtifactStore, 'findTokenWithGrant'>;
  readonly directory: Directory;
}

export function createFindTokenWithGrant(deps: TokenWithGrantDeps): FindTokenWithGrant {
  const { provider, artifactStore, directory } = deps;
  return async (model, value) => {
    if (hasOtherPrefix(model, value)) return undefined;
    const stored = await artifactStore.findTokenWithGrant(model, artifactId(model, value));
    if (stored === undefined || !(await isNotRevoked(directory, stored.source))) return undefined;
    const source = reviveModel(provider, model, { ...stored.source.payload, jti: value });
    if (source.expiresWithSession && !(await isSessionAlive(directory, stored.session, source))) return undefined;
    const grant = await validGrant(deps, stored.grant, source);
    return { source, consumedAt: stored.source.consumedAt, grant };
  };
}

/** A token that another one was exchanged for has no grant of its own (tokens/delegation asks for the first one). */
export function lacksGrant({ source, grant }: TokenWithGrant<{ readonly grantId?: string | undefined }>): boolean {
  return source.grantId !== undefined && grant === undefined;
}

async function validGrant(
  { provider, directory }: TokenWithGrantDeps,
  stored: StoredArtifact | undefined,
  source: Owned,
): Promise<Grant | undefined> {
  if (stored === undefined || !(await isNotRevoked(directory, stored))) return undefined;
  const grant = reviveModel(provider, 'Grant', stored.payload);
  return isGrantOf(grant, source) ? grant : undefined;
}

/** For a token that was found without its grant. */
export async function hasItsGrant(provider: Provider, token: IssuedToken): Promise<boolean> {
  return !('grantId' in token) || token.grantId === undefined || (await findItsGrant(provider, token)) !== undefined;
}

/** @returns undefined if it has none, or that is not valid, or that of another client or user */
export async function findItsGrant(provider: Provider, token: IssuedToken): Promise<Grant | undefined> {
  if (!('grantId' in token) || token.grantId === undefined) return undefined;
  const grant = await provider.Grant.find(token.grantId, { ignoreExpiration: true });
  return grant !== undefined && isGrantOf(grant, token) ? grant : undefined;
}

/** Not expired, and of the same client and the same user. */
export function isGrantOf(grant: Grant, source: Owned): boolean {
  return !grant.isExpired && isSameClient(grant.clientId, source.clientId) && grant.accountId === source.accountId;
}

/** What is read of a stored session. */
interface SessionPayload {
  /** seconds since 1970 */
  readonly exp?: number;
  readonly accountId?: string;
  /** by client id */
  readonly authorizations?: Readonly<Record<string, { readonly grantId?: string }>>;
}

async function isSessionAlive(
  directory: Directory,
  stored: StoredArtifact | undefined,
  source: Owned & { readonly grantId?: string | undefined },
): Promise<boolean> {
  if (stored === undefined || !(await isNotRevoked(directory, stored))) return false;
  const session: SessionPayload = stored.payload;
  const { authorizations = {} } = session;
  const clientId = source.clientId ?? '';
  return (
    (session.exp ?? 0) > Date.now() / 1000 &&
    session.accountId === source.accountId &&
    Object.hasOwn(authorizations, clientId) &&
    authorizations[clientId]?.grantId === source.grantId
  );
}
