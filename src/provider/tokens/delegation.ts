// The chain of hands through which a token of a user went by token exchange (RFC 8693): how it is written into tokens, and whether
// it still stands. The members `act` are the standard's; where the chain began stands in a claim of ours, because the standard has
// none for it, and introspection needs it to see that the first grant and everybody on the way still stand.

import { isSameClient, mayDelegate } from '../../client-binding.ts';
import type { Directory } from '../policy/directory.ts';
import { findPermitted } from '../policy/resource-server-policy.ts';
import { isNotRevoked } from '../policy/token-status.ts';
import type { ArtifactStore } from '../storage/artifact-store.ts';
import { artifactId } from '../storage/artifacts.ts';

/** RFC 8693 §4.1, newest actor outside. */
export interface Actor {
  readonly sub: string;
  readonly client_id: string;
  readonly act?: Actor;
}

/** What the user allowed at first, and what came of it before this token. */
export interface Origin {
  /** of the grant; no credential */
  readonly grant_id: string;
  /** to which the user's token was issued */
  readonly client_id: string;
  /** of the tokens from which this one was made, the user's first */
  readonly audiences: readonly string[];
}

export interface DelegationClaims {
  readonly act: Actor;
  readonly lanyard_origin: Origin;
}

/** @returns undefined for a token that nobody has handed on */
export function delegationOf(extra: Readonly<Record<string, unknown>> | undefined): DelegationClaims | undefined {
  return extra?.lanyard_origin === undefined ? undefined : (extra as unknown as DelegationClaims);
}

/** The client that the user's token was issued to, then each that exchanged it, in order. */
export function chainOf({ act, lanyard_origin: origin }: DelegationClaims): string[] {
  const actors: string[] = [];
  for (let actor: Actor | undefined = act; actor !== undefined; actor = actor.act) actors.unshift(actor.client_id);
  return [origin.client_id, ...actors];
}

/** RFC 8693 §4.4: whom the policy row of this client and this audience names as the one who may act; written as `act` will be. */
export async function namedActor(
  directory: Pick<Directory, 'findGrants'>,
  token: {
    readonly kind: string;
    readonly clientId?: string | undefined;
    readonly aud?: string | string[] | undefined;
  },
): Promise<{ may_act?: Actor }> {
  const { kind, clientId, aud } = token;
  if (kind !== 'AccessToken' || clientId === undefined || typeof aud !== 'string') return {};
  const named = (await directory.findGrants(clientId))?.get(aud)?.mayActClientId;
  return named === undefined ? {} : { may_act: { sub: named, client_id: named } };
}

export interface DelegationDeps {
  readonly directory: Directory;
  readonly artifactStore: Pick<ArtifactStore, 'find'>;
}

export interface DelegatedToken {
  readonly delegation: DelegationClaims;
  readonly accountId: string | undefined;
  readonly audience: string | undefined;
  /** seconds since 1970 */
  readonly issuedAt: number;
}

/**
 * Whether the chain still stands: the grant with which it began, and each hop as if it were made now. Everybody in it is enabled
 * and not revoked since, has a policy row for the resource server of its hop, and that one accepts the chain as far as it.
 */
export async function isDelegationValid(deps: DelegationDeps, token: DelegatedToken): Promise<boolean> {
  const { delegation, audience, issuedAt } = token;
  const chain = chainOf(delegation);
  const audiences = [...(delegation.lanyard_origin.audiences ?? []), audience];
  if (audiences.length !== chain.length || !(await isGrantValid(deps, token))) return false;
  for (const [hop, clientId] of chain.entries()) {
    const hands = chain.slice(0, hop + 1);
    if (!(await mayActorCall(deps, { hands, clientId, audience: audiences[hop], issuedAt }))) return false;
  }
  return true;
}

/** What was written by an exchange that raced with the revocation of the grant is void although the grant did not take it along. */
async function isGrantValid(
  { artifactStore }: DelegationDeps,
  { delegation, accountId }: DelegatedToken,
): Promise<boolean> {
  const { grant_id: grantId, client_id: clientId } = delegation.lanyard_origin;
  const grant = await artifactStore.find('Grant', artifactId('Grant', grantId));
  if (grant === undefined || Number(grant.payload.exp) <= Date.now() / 1000) return false;
  return grant.accountId === accountId && isSameClient(grant.clientId, clientId);
}

async function mayActorCall(
  { directory }: DelegationDeps,
  hop: { hands: readonly string[]; clientId: string; audience: string | undefined; issuedAt: number },
): Promise<boolean> {
  const { hands, clientId, audience, issuedAt } = hop;
  const client = await directory.findClient(clientId);
  if (client === undefined || client.isDisabled) return false;
  if (!(await isNotRevoked(directory, { clientId, accountId: undefined, issuedAt }))) return false;
  const permitted = audience === undefined ? undefined : await findPermitted(directory, audience, clientId);
  if (permitted === undefined || permitted.resourceServer.identifier !== audience) return false;
  // The user's own token was not exchanged.
  if (hands.length === 1) return true;
  return permitted.mayExchange && mayDelegate(hands, permitted.resourceServer.delegation);
}
