// A user's token or code together with what it depends on: the grant of the user, and the session of the browser if it ends with
// that. One round trip to the database for what the engine asks one after the other; the rules are the engine's.

import type Provider from 'oidc-provider';
import type { AccessToken, AuthorizationCode, Grant, RefreshToken } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import type { Directory } from '../policy/directory.ts';
import { isNotRevoked } from '../policy/token-status.ts';
import type { ArtifactStore, StoredArtifact } from '../storage/artifact-store.ts';
import { artifactId } from '../storage/artifacts.ts';

interface Models {
  AccessToken: AccessToken;
  RefreshToken: RefreshToken;
  AuthorizationCode: AuthorizationCode;
}

export interface TokenWithGrant<Source> {
  readonly source: Source;
  /** undefined: a token that another one was exchanged for has none of its own */
  readonly grant: Grant | undefined;
}

/** @returns undefined unless it is there, may be used now, and all that it depends on stands */
export type FindTokenWithGrant = <Model extends keyof Models>(
  model: Model,
  value: string,
) => Promise<TokenWithGrant<Models[Model]> | undefined>;

export interface TokenWithGrantDeps {
  readonly provider: Provider;
  readonly artifactStore: Pick<ArtifactStore, 'findTokenWithGrant'>;
  readonly directory: Directory;
}

export function createFindTokenWithGrant({
  provider,
  artifactStore,
  directory,
}: TokenWithGrantDeps): FindTokenWithGrant {
  /** The engine's model of a row that has not been revoked. */
  async function revive<T>(
    Model: new (payload: never) => T,
    stored: StoredArtifact | undefined,
    id?: string,
  ): Promise<T | undefined> {
    if (stored === undefined || !(await isNotRevoked(directory, stored))) return undefined;
    return new Model((id === undefined ? stored.payload : { ...stored.payload, jti: id }) as never);
  }

  return async <Model extends keyof Models>(model: Model, value: string) => {
    const stored = await artifactStore.findTokenWithGrant(model, artifactId(model, value));
    // RFC 6749 §4.1.2, RFC 9700 §4.14.2: what was used before is for the engine, which revokes what came of it.
    if (stored === undefined || stored.source.consumedAt !== undefined) return undefined;
    const source = await revive(
      provider[model] as unknown as new (
        payload: never,
      ) => Models[Model],
      stored.source,
      value,
    );
    if (source === undefined || source.isExpired) return undefined;
    let grant: Grant | undefined;
    if (source.grantId !== undefined) {
      grant = await revive(provider.Grant as unknown as new (payload: never) => Grant, stored.grant);
      if (grant === undefined || grant.isExpired) return undefined;
      if (!isSameClient(grant.clientId, source.clientId) || grant.accountId !== source.accountId) return undefined;
    }
    if (source.expiresWithSession) {
      const { session } = stored;
      if (session === undefined || !(await isNotRevoked(directory, session))) return undefined;
      if (!isSessionOf(session.payload as unknown as SessionPayload, source)) return undefined;
    }
    return { source, grant };
  };
}

/** What the engine keeps of a session, as far as it is asked for here. */
interface SessionPayload {
  /** seconds since 1970 */
  readonly exp: number;
  readonly accountId?: string;
  /** by client id */
  readonly authorizations?: Readonly<Record<string, { readonly grantId?: string }>>;
}

function isSessionOf(session: SessionPayload, source: AccessToken | RefreshToken | AuthorizationCode): boolean {
  const { authorizations = {} } = session;
  const clientId = source.clientId as string;
  return (
    session.exp > Date.now() / 1000 &&
    session.accountId === source.accountId &&
    Object.hasOwn(authorizations, clientId) &&
    authorizations[clientId]?.grantId === source.grantId
  );
}
