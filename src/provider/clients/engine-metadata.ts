// The metadata of a client on their way into the engine: what is added to every instance of it, and
// the validation of new metadata by the engine's own schema, so that nothing is registered which
// the engine would refuse to load.

import type Provider from 'oidc-provider';
import { type Client, type ClientMetadata as EngineMetadata, errors } from 'oidc-provider';
import { authenticatesWithSecret, type ClientMetadata } from '../../clients/client.ts';
import { AppError } from '../../errors.ts';
import { createClient, faultyMemberOf } from '../engine-internals.ts';
import { sectorOf } from './pairwise.ts';

/**
 * Members under the names by which the engine reads them from a client. It takes them from metadata
 * only when the feature is on (RFC 8705) or when it has a list of all types (RFC 9396).
 */
const COMPLETED = ['authorizationDetailsTypes', 'tlsClientCertificateBoundAccessTokens'] as const;

/** Says that a metadata document was checked (metadata-documents). */
export const DOCUMENT_CHECK = 'lanyard_document_check';

/** Asks for the document at the `sector_identifier_uri`. Metadata with this member are never stored. */
const SECTOR_CHECK = 'lanyard_sector_check';

/**
 * Configuration `sectorIdentifierUriValidate`. At each load of a client the engine would fetch the document,
 * and refuse the client while its host is down. OpenID Connect Registration §5 requires it once only.
 */
export function asksForSectorDocument(client: Client): boolean {
  return client[SECTOR_CHECK] === true;
}

/**
 * Configuration `extraClientMetadata`. The engine runs the validator in the constructor of a
 * client: what is done here is done to every instance, whether its metadata come from the adapter
 * or from a metadata document.
 */
export const extraClientMetadata = {
  properties: [
    ...['require_pkce', 'security_profile', 'dpop_require_nonce', 'refresh_token_grace_seconds'],
    ...['refresh_token_reuse_in_grace', 'revoke_tokens_on_logout', 'tls_client_certificate_bound_access_tokens'],
    ...['require_issuer_audience', 'id_token_claims', DOCUMENT_CHECK, SECTOR_CHECK, ...COMPLETED],
  ],
  validator(_ctx: unknown, name: string, _value: unknown, metadata: Record<string, unknown>): void {
    if (name === COMPLETED[0]) copyMembers(metadata);
    // The engine drops it when certificates are switched off, and would issue bearer tokens from
    // then on.
    if (name === 'tlsClientCertificateBoundAccessTokens') {
      metadata[name] = metadata.tls_client_certificate_bound_access_tokens === true;
    }
  },
};

/**
 * jose freezes the keys that it uses; the engine writes into them when it makes the next instance
 * of the client.
 */
function copyMembers(metadata: Record<string, unknown>): void {
  for (const [name, value] of Object.entries(metadata)) metadata[name] = structuredClone(value);
}

/**
 * The engine would compare the types with a list of its own, which stays empty
 * (policy/authorization-details).
 */
export function forEngine(metadata: ClientMetadata): Record<string, unknown> {
  const { authorization_details_types: authorizationDetailsTypes = [], ...others } = metadata;
  return { ...others, authorizationDetailsTypes };
}

export interface LoadableDeps {
  readonly provider: Provider;
  /** false: clients cannot present certificates here */
  readonly takesCertificates: boolean;
}

/** @throws AppError `validation_failed` naming the member */
export function assertLoadable(deps: LoadableDeps, clientId: string, metadata: ClientMetadata): void {
  try {
    createClient(deps.provider, asLoaded(clientId, metadata));
  } catch (error) {
    throw toAppError(error, metadata);
  }
  // Such a client would get no token at all.
  if (metadata.tls_client_certificate_bound_access_tokens && !deps.takesCertificates) {
    const pointer = '/tls_client_certificate_bound_access_tokens';
    const detail = 'this server takes no certificates of clients (LANYARD_TLS_PORT, LANYARD_CLIENT_CERTIFICATE_HEADER)';
    throw new AppError('validation_failed', detail, { faults: [{ pointer, detail }] });
  }
}

/**
 * OpenID Connect Registration §5: the document at `sector_identifier_uri` must name every redirect
 * URI. Otherwise a client could claim the sector of another one, and get its pairwise subjects.
 * @throws AppError `validation_failed` when it does not, or cannot be read
 */
export async function assertSector(provider: Provider, clientId: string, metadata: ClientMetadata): Promise<void> {
  if (metadata.sector_identifier_uri === undefined) return;
  try {
    await provider.Client.validate({ ...asLoaded(clientId, metadata), [SECTOR_CHECK]: true });
  } catch (error) {
    throw toAppError(error, metadata, 'sector_identifier_uri');
  }
}

/** By which subjects the client knows its users: equal texts for equal subjects. */
export function subjectsOf(provider: Provider, clientId: string, metadata: ClientMetadata): string {
  if (metadata.subject_type !== 'pairwise') return 'public';
  try {
    return `pairwise ${sectorOf(createClient(provider, asLoaded(clientId, metadata)))}`;
  } catch (error) {
    if (!(error instanceof errors.OIDCProviderError)) throw error;
    // It has no sector, since no user signs in to it, or it was stored when other rules were in force.
    const { sector_identifier_uri: sectorUri, redirect_uris: redirectUris, jwks_uri: jwksUri } = metadata;
    return `pairwise without a sector ${JSON.stringify([sectorUri, redirectUris, jwksUri])}`;
  }
}

function asLoaded(clientId: string, metadata: ClientMetadata): EngineMetadata {
  const secret = authenticatesWithSecret(metadata) ? { client_secret: 'x'.repeat(43) } : {};
  return { ...forEngine(metadata), client_id: clientId, ...secret };
}

function toAppError(error: unknown, metadata: ClientMetadata, member?: string): unknown {
  if (!(error instanceof errors.OIDCProviderError)) return error;
  const detail = error.error_description ?? 'is not valid';
  const faults = [{ pointer: `/${member ?? faultyMemberOf(detail, metadata)}`, detail }];
  return new AppError('validation_failed', detail, { faults, cause: error });
}
