// The delegation chain of a user's token: which clients have exchanged it (RFC 8693), how that is
// written into tokens, and whether the chain is still valid. `act` is the standard's claim for the
// actors. The origin of the chain is in a claim of ours, because the standard has none for it:
// introspection needs it to check the first grant and every client of the chain.

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

/** The grant of the user, and the tokens between it and this one. */
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

/** @returns undefined for a token that was not made by token exchange */
export function delegationOf(extra: Readonly<Record<string, unknown>> | undefined): DelegationClaims | undefined {
  return extra?.lanyard_origin === undefined ? undefined : (extra as unknown as DelegationClaims);
}

/** The client that the user's token was issued to, then each that exchanged it, in order. */
export function chainOf({ act, lanyard_origin: origin }: DelegationClaims): string[] {
  const actors: string[] = [];
  for (let actor: Actor | undefined = act; actor !== undefined; actor = actor.act) actors.unshift(actor.client_id);
  return [origin.client_id, ...actors];
}

/**
 * RFC 8693 §4.4: the client that may act, by the policy row of this client and this audience; in
 * the form of `act`.
 */
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
 * Whether the chain is still valid: its grant exists, and each exchange would be allowed now. Every
 * client of it is enabled, has not been revoked since, and has a policy row for the resource server
 * of its token, which accepts the chain up to this client.
 */
export async function isDelegationValid(deps: DelegationDeps, token: DelegatedToken): Promise<boolean> {
  const { delegation, audience, issuedAt } = token;
  const chain = chainOf(delegation);
  const audiences = [...(delegation.lanyard_origin.audiences ?? []), audience];
  if (audiences.length !== chain.length || !(await isGrantValid(deps, token))) return false;
  for (const [index, clientId] of chain.entries()) {
    const chainSoFar = chain.slice(0, index + 1);
    if (!(await mayActorCall(deps, { chainSoFar, clientId, audience: audiences[index], issuedAt }))) return false;
  }
  return true;
}

/**
 * A token of an exchange that raced with the revocation of the grant is void although it was not
 * removed with the grant.
 */
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
  link: { chainSoFar: readonly string[]; clientId: string; audience: string | undefined; issuedAt: number },
): Promise<boolean> {
  const { chainSoFar, clientId, audience, issuedAt } = link;
  const client = await directory.findClient(clientId);
  if (client === undefined || client.isDisabled) return false;
  if (!(await isNotRevoked(directory, { clientId, accountId: undefined, issuedAt }))) return false;
  const permitted = audience === undefined ? undefined : await findPermitted(directory, audience, clientId);
  if (permitted === undefined || permitted.resourceServer.identifier !== audience) return false;
  // The user's own token was not exchanged.
  if (chainSoFar.length === 1) return true;
  return permitted.mayExchange && mayDelegate(chainSoFar, permitted.resourceServer.delegation);
}
