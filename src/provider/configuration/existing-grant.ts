// The grant of a user at an app: what the user has allowed it. Consent is stored per client and
// scope for as long as the user exists: a user who has allowed something is not asked again, in
// another browser or after signing out. The engine knows only the Grant that the session names.
//
// Two windows of one app may ask at the same moment. The lock of the session decides: both use the
// same grant, which holds what both have asked for. A grant that was revoked is not stored again.

import { randomBytes } from 'node:crypto';
import type Provider from 'oidc-provider';
import type { Grant, KoaContextWithOIDC } from 'oidc-provider';
import type { Database, Query } from '../../database/database.ts';
import { spellings } from '../../resource-servers/identifier.ts';
import { findConsents } from '../../users/store.ts';
import { reviveModel } from '../engine-internals.ts';
import { issueTime } from '../http/current-memory.ts';
import { storedSessionUid } from '../logout/session-storage.ts';
import { artifactId } from '../storage/artifacts.ts';
import { lockArtifact, lockSessionEntry, type SessionEntry, storeSessionEntry } from '../storage/saved-again.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { isGrantOf } from '../tokens/token-with-grant.ts';

export interface GrantDeps {
  readonly database: Pick<Database, 'query' | 'transaction' | 'changes'>;
  readonly unitOfWork: Pick<UnitOfWork, 'collect'>;
}

interface Owner {
  readonly accountId: string;
  readonly clientId: string;
  /** undefined: of a session that is not stored yet */
  readonly sessionUid: string | undefined;
  /** of a new grant: when the request was judged, in seconds since 1970 */
  readonly judgedAt: number;
}

/**
 * Configuration `loadExistingGrant`: the grant of this session, otherwise a new one with what was
 * allowed before.
 */
export function createLoadExistingGrant(deps: GrantDeps) {
  return async (ctx: KoaContextWithOIDC): Promise<Grant | undefined> => {
    const { client, account, session, provider, result } = ctx.oidc;
    if (client === undefined || account === undefined) return undefined;
    const { accountId } = account;
    const { clientId } = client;
    const grantId = result?.consent?.grantId ?? session?.grantIdFor(clientId);
    const existing = grantId === undefined ? undefined : await provider.Grant.find(grantId);
    // Two users of one browser may use the same session one after the other; the grant of the first
    // is not the second's.
    if (existing !== undefined && existing.accountId === accountId) return existing;

    const consents = await findConsents(deps.database.query, accountId, clientId);
    if (consents.size === 0) return undefined;
    const { grant, entry } = await deps.database.transaction(async (query) => {
      const judgedAt = issueTime(deps.database.changes);
      const owner = { accountId, clientId, sessionUid: storedSessionUid(accountId), judgedAt };
      return changeGrant(deps, provider, query, owner);
    });
    session?.sidFor(clientId, entry.sid);
    return grant;
  };
}

function addConsents(grant: Grant, consents: Awaited<ReturnType<typeof findConsents>>): void {
  for (const [resourceServer, scopes] of consents) {
    if (resourceServer === '') grant.addOIDCScope(scopes.join(' '));
    else for (const spelling of spellings(resourceServer)) grant.addResourceScope(spelling, scopes.join(' '));
  }
}

/** @param add what the user allows now @returns the id of the grant */
export type GrowGrant = (
  query: Query,
  owner: Owner & { readonly grantId: string | undefined },
  add: (grant: Grant) => void,
) => Promise<string>;

export function createGrowGrant(deps: Pick<GrantDeps, 'unitOfWork'>, provider: Provider): GrowGrant {
  return async (query, owner, add) =>
    (await changeGrant(deps, provider, query, owner, owner.grantId, add)).entry.grantId;
}

/**
 * @param knownId of a grant that the session may not name yet
 * @param add nothing: only a new one is stored, with what was allowed before
 */
async function changeGrant(
  { unitOfWork }: Pick<GrantDeps, 'unitOfWork'>,
  provider: Provider,
  query: Query,
  owner: Owner,
  knownId?: string,
  add?: (grant: Grant) => void,
): Promise<{ grant: Grant; entry: SessionEntry }> {
  const { accountId, clientId, sessionUid } = owner;
  const before = sessionUid === undefined ? undefined : await lockSessionEntry(query, sessionUid, clientId);
  const stored = await lockGrant(provider, query, before?.grantId ?? knownId);
  const valid = stored && isGrantOf(stored, owner) ? stored : undefined;
  const grant = valid ?? newGrant(provider, owner);
  if (valid === undefined) addConsents(grant, await findConsents(query, accountId, clientId));
  add?.(grant);
  const { result: grantId, commitIn } = await unitOfWork.collect('', () => grant.save());
  await commitIn(query);
  const entry = { sid: before?.sid ?? randomBytes(16).toString('base64url'), grantId };
  const isNamed = before?.sid === entry.sid && before.grantId === grantId;
  if (sessionUid !== undefined && !isNamed) await storeSessionEntry(query, sessionUid, clientId, entry);
  return { grant, entry };
}

function newGrant({ Grant }: Provider, { accountId, clientId, judgedAt }: Owner): Grant {
  return Object.assign(new Grant({ accountId, clientId }), { iat: Math.floor(judgedAt) });
}

async function lockGrant(provider: Provider, query: Query, grantId: string | undefined): Promise<Grant | undefined> {
  const payload = grantId && (await lockArtifact(query, 'Grant', artifactId('Grant', grantId)));
  return payload ? reviveModel(provider, 'Grant', { ...payload, jti: grantId }) : undefined;
}
