// Judges client metadata by the engine's own schema, so that nothing is registered which the engine would refuse to load.

import type Provider from 'oidc-provider';
import { errors } from 'oidc-provider';
import { authenticatesWithSecret, type ClientMetadata } from '../../clients/client.ts';
import { AppError } from '../../errors.ts';
import { faultyMemberOf } from '../engine-internals.ts';

type EngineClientClass = (new (metadata: object) => unknown) & { validate(metadata: object): Promise<void> };

/** @throws AppError `validation_failed` naming the member */
export function assertLoadable(provider: Provider, clientId: string, metadata: ClientMetadata): void {
  const EngineClient = provider.Client as unknown as EngineClientClass;
  let loaded: { tlsClientCertificateBoundAccessTokens?: boolean };
  try {
    loaded = new EngineClient(asLoaded(clientId, metadata)) as typeof loaded;
  } catch (error) {
    throw toAppError(error, metadata);
  }
  // The engine leaves out what it has no use for: without certificates the promise would be kept by nobody.
  if (metadata.tls_client_certificate_bound_access_tokens && !loaded.tlsClientCertificateBoundAccessTokens) {
    const pointer = '/tls_client_certificate_bound_access_tokens';
    const detail = 'this server takes no certificates of clients (LANYARD_TLS_PORT, LANYARD_CLIENT_CERTIFICATE_HEADER)';
    throw new AppError('validation_failed', detail, { faults: [{ pointer, detail }] });
  }
}

/**
 * OpenID Connect Registration §5: the document at `sector_identifier_uri` must name every redirect URI. Otherwise anybody could say
 * that he belongs to the sector of somebody else, and get its subjects.
 * @throws AppError `validation_failed` when it does not, or cannot be read
 */
export async function assertSector(provider: Provider, clientId: string, metadata: ClientMetadata): Promise<void> {
  if (metadata.sector_identifier_uri === undefined) return;
  const EngineClient = provider.Client as unknown as EngineClientClass;
  try {
    await EngineClient.validate(asLoaded(clientId, metadata));
  } catch (error) {
    throw toAppError(error, metadata, 'sector_identifier_uri');
  }
}

function asLoaded(clientId: string, metadata: ClientMetadata): object {
  const secret = authenticatesWithSecret(metadata) ? { client_secret: 'x'.repeat(43) } : {};
  return { ...forEngine(metadata), client_id: clientId, ...secret };
}

function toAppError(error: unknown, metadata: ClientMetadata, member?: string): unknown {
  if (!(error instanceof errors.OIDCProviderError)) return error;
  const detail = error.error_description ?? 'is not valid';
  const faults = [{ pointer: `/${member ?? faultyMemberOf(detail, metadata)}`, detail }];
  return new AppError('validation_failed', detail, { faults, cause: error });
}

/** The engine would compare the types with a list of its own, which stays empty (authorization-details). */
export function forEngine(metadata: ClientMetadata): object {
  const { authorization_details_types: _, ...others } = metadata;
  return others;
}
