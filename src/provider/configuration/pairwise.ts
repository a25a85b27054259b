// Pairwise subjects (OpenID Connect Core §8.1): the same user has another `sub` at the clients of each sector, so that two of
// them cannot tell by it that they talk about the same person.

import { createHmac } from 'node:crypto';
import type { Client, KoaContextWithOIDC } from 'oidc-provider';

/** Configuration `pairwiseIdentifier`. @param salt secret, and the same for ever: another one makes every user a new one */
export function createPairwiseIdentifier(salt: string) {
  return async (_ctx: KoaContextWithOIDC, accountId: string, client: Client): Promise<string> => {
    const { sectorIdentifier } = client as Client & { sectorIdentifier: string };
    return createHmac('sha256', salt)
      .update(JSON.stringify([sectorIdentifier, accountId]))
      .digest('base64url');
  };
}
