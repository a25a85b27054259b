// Pairwise subjects (OpenID Connect Core §8.1): the same user has another `sub` at the clients of each sector, so that two of
// them cannot tell by it that they talk about the same person.

import { createHmac } from 'node:crypto';
import type { Client } from 'oidc-provider';

export type PairwiseIdentifier = (client: Client, accountId: string) => string;

/** @param salt secret, and never changed: another one gives every user another `sub` */
export function createPairwiseIdentifier(salt: string): PairwiseIdentifier {
  return (client, accountId) => {
    return createHmac('sha256', salt)
      .update(JSON.stringify([sectorOf(client), accountId]))
      .digest('base64url');
  };
}

/** Of a client with pairwise subjects: the host of its redirect URIs, or that of its `sector_identifier_uri`. */
export function sectorOf(client: Client): string {
  return (client as Client & { sectorIdentifier: string }).sectorIdentifier;
}

/** The `sub` that this client knows the user by. */
export function subjectAt(pairwiseIdentifier: PairwiseIdentifier, client: Client, accountId: string): string {
  return client.subjectType === 'pairwise' ? pairwiseIdentifier(client, accountId) : accountId;
}
