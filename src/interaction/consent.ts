// Consent: what is stored when the user allows what an authorization request asks for.

import { isDeepStrictEqual } from 'node:util';
import { recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Engine, Interaction } from '../provider/engine.ts';
import { addConsent } from '../users/store.ts';
import { type Asked, missingOf, namedBy } from './asked.ts';

type GrownGrant = Parameters<Parameters<Engine['growGrant']>[2]>[0];

/**
 * Whether the user has been asked already: the page on which a device is confirmed names all that
 * its request names, and there is no interaction of a device before that.
 */
export async function isConfirmed(query: Query, interaction: Interaction): Promise<boolean> {
  if (interaction.deviceCode === undefined) return false;
  const shown = await namedBy(query, interaction.params);
  const missing = missingOf(interaction);
  return (
    missing.identityScopes.every((name) => shown.identityScopes.includes(name)) &&
    Object.entries(missing.apiScopes).every(([identifier, scopes]) =>
      scopes.every((name) => shown.apiScopes[identifier]?.includes(name)),
    ) &&
    missing.claims.every((name) => shown.claims.includes(name)) &&
    missing.details.every((detail) => shown.details.some((other) => isDeepStrictEqual(other, detail)))
  );
}

/**
 * Stores what the user allows: as remembered consent for the client, and in the grant of this
 * session.
 * @returns the id of the grant
 */
export async function allow(
  deps: { database: Database; engine: Engine },
  interaction: Interaction,
  { requestId, judgedAt }: { requestId: string; judgedAt: number },
): Promise<string> {
  const missing = missingOf(interaction);
  const { identityScopes, apiScopes, claims, details } = missing;
  const { grantId, session: { accountId, uid: sessionUid } = {} } = interaction;
  if (accountId === undefined) throw new AppError('conflict', 'Sign in first.');
  const clientId = String(interaction.params.client_id);

  return deps.database.transaction(async (query) => {
    const owner = { accountId, clientId, sessionUid, grantId, judgedAt };
    const grown = await deps.engine.growGrant(query, owner, (grant) => addTo(grant, missing));
    if (identityScopes.length > 0) await addConsent(query, accountId, clientId, '', identityScopes);
    for (const [identifier, scopes] of Object.entries(apiScopes)) {
      await addConsent(query, accountId, clientId, identifier, scopes);
    }
    await recordAudit(query, {
      type: 'consent.granted',
      actor: `user:${accountId}`,
      accountId,
      clientId,
      requestId,
      detail: {
        scopes: identityScopes,
        resource_servers: apiScopes,
        ...(claims.length === 0 ? {} : { claims }),
        ...(details.length === 0 ? {} : { authorization_details: details }),
      },
    });
    return grown;
  });
}

function addTo(grant: GrownGrant, { identityScopes, apiScopes, claims, details }: Asked): void {
  if (identityScopes.length > 0) grant.addOIDCScope(identityScopes.join(' '));
  for (const [identifier, names] of Object.entries(apiScopes)) {
    grant.addResourceScope(identifier, names.join(' '));
  }
  if (claims.length > 0) grant.addOIDCClaims([...claims]);
  const before = grant.rar ?? [];
  for (const detail of details) {
    if (!before.some((other) => isDeepStrictEqual(other, detail))) grant.addRar(detail);
  }
}
