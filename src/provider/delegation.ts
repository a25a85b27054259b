// The chain of hands through which a token of a user went by token exchange (RFC 8693): how it is written into tokens, and whether
// it still stands. The members `act` are the standard's; where the chain began stands in a claim of ours, because the standard has
// none for it, and introspection needs it to see that the first grant and everybody on the way still stand.

import { mayDelegate } from '../client-binding.ts';
import type { Directory } from './directory.ts';
import { isNotRevoked } from './token-standing.ts';

/** RFC 8693 §4.1, newest actor outside. */
export interface Actor {
  readonly sub: string;
  readonly client_id: string;
  readonly act?: Actor;
}

/** What the user allowed at first. */
export interface Origin {
  /** of the grant; no credential */
  readonly grant_id: string;
  /** to which the user's token was issued */
  readonly client_id: string;
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

/** Whether everybody in the chain is enabled and not revoked since, and the resource server still accepts such a chain. */
export async function delegationStands(
  directory: Directory,
  token: { readonly delegation: DelegationClaims; readonly audience: string | undefined; readonly issuedAt: number },
): Promise<boolean> {
  const chain = chainOf(token.delegation);
  for (const clientId of chain) {
    const client = await directory.findClient(clientId);
    if (client === undefined || client.isDisabled) return false;
    if (!(await isNotRevoked(directory, { clientId, accountId: undefined, issuedAt: token.issuedAt }))) return false;
  }
  const { audience } = token;
  const resourceServer = audience === undefined ? undefined : await directory.findResourceServer(audience);
  const grants = await directory.findGrants(chain.at(-1) as string);
  if (resourceServer === undefined || grants?.get(resourceServer.identifier)?.mayExchange !== true) return false;
  return mayDelegate(chain, resourceServer.delegation);
}
