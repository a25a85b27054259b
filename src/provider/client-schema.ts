// Judges client metadata by the engine's own schema, so that nothing is registered which the engine would refuse to load.

import type Provider from 'oidc-provider';
import { errors } from 'oidc-provider';
import { authenticatesWithSecret, type ClientMetadata } from '../clients/client.ts';
import { AppError } from '../errors.ts';

/** @throws AppError `validation_failed` naming the member */
export function assertLoadable(provider: Provider, clientId: string, metadata: ClientMetadata): void {
  const EngineClient = provider.Client as unknown as new (metadata: object) => unknown;
  const secret = authenticatesWithSecret(metadata) ? { client_secret: 'x'.repeat(43) } : {};
  try {
    new EngineClient({ ...forEngine(metadata), client_id: clientId, ...secret });
  } catch (error) {
    if (!(error instanceof errors.OIDCProviderError)) throw error;
    const detail = error.error_description ?? 'is not valid';
    throw new AppError('validation_failed', detail, {
      faults: [{ pointer: `/${faultyMember(detail, metadata)}`, detail }],
      cause: error,
    });
  }
}

/** The engine would compare the types with a list of its own, which stays empty (authorization-details). */
export function forEngine(metadata: ClientMetadata): object {
  const { authorization_details_types: _, ...others } = metadata;
  return others;
}

/** The engine names the member somewhere in its sentence. */
function faultyMember(sentence: string, metadata: ClientMetadata): string {
  if (/JSON Web Key Set/i.test(sentence)) return 'jwks';
  const words = sentence.split(/[^a-z_]+/);
  return words.find((word) => word.includes('_') || word in metadata) ?? '';
}
