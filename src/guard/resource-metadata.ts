// Protected resource metadata (RFC 9728): tells a client that knows only the URL of this API which
// authorization server issues its tokens. The guard's refusals point to it (§5.1).

import type { GuardSettings } from './options.ts';

export interface ResourceMetadata {
  readonly resource: string;
  readonly authorization_servers: readonly string[];
  readonly bearer_methods_supported: readonly string[];
  readonly [member: string]: unknown;
}

export interface MetadataDocument {
  /** `/.well-known/oauth-protected-resource`, followed by the path of the identifier (§3.1) */
  readonly url: URL;
  readonly json: ResourceMetadata;
}

/** @returns undefined without the option `metadata` */
export function createMetadataDocument(settings: GuardSettings): MetadataDocument | undefined {
  const { metadata } = settings;
  const resource = settings.audiences.find((identifier) => /^https?:/.test(identifier));
  if (metadata === undefined || resource === undefined) return undefined;
  const identifier = new URL(resource);
  const path = identifier.pathname === '/' ? '' : identifier.pathname;
  const url = new URL(`/.well-known/oauth-protected-resource${path}${identifier.search}`, identifier);
  return {
    url,
    json: {
      resource,
      authorization_servers: [settings.issuer],
      bearer_methods_supported: ['header'],
      ...(settings.scopes.length > 0 || metadata.scopesSupported !== undefined
        ? { scopes_supported: metadata.scopesSupported ?? settings.scopes }
        : {}),
      ...(metadata.name === undefined ? {} : { resource_name: metadata.name }),
      ...(metadata.documentation === undefined ? {} : { resource_documentation: metadata.documentation }),
      dpop_signing_alg_values_supported: settings.constraint.proofs.algorithms,
      ...(settings.constraint.isRequired ? { dpop_bound_access_tokens_required: true } : {}),
    },
  };
}

/** The document is public, and browser apps of any origin may read it. */
export const METADATA_HEADERS: Readonly<Record<string, string>> = {
  'Content-Type': 'application/json; charset=utf-8',
  'Cache-Control': 'public, max-age=300',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
};

/** @returns whether a request with this method and target is for the document */
export function isForMetadata(document: MetadataDocument | undefined, method: unknown, target: unknown): boolean {
  if (document === undefined || typeof target !== 'string') return false;
  if (!['GET', 'HEAD', 'OPTIONS'].includes(String(method))) return false;
  return target === `${document.url.pathname}${document.url.search}`;
}
