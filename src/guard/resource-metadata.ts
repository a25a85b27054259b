// Protected resource metadata (RFC 9728): tells a client that knows only the URL of this API which
// authorization server issues its tokens. The guard's refusals point to it (§5.1).

import type { HttpRequestLike } from './credentials.ts';
import { entityTagOf, failedCondition, readConditions } from './entity-tag.ts';
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
  /** as it is sent */
  readonly text: string;
  readonly entityTag: string;
}

/** @returns undefined without the option `metadata` */
export function createMetadataDocument(settings: GuardSettings): MetadataDocument | undefined {
  const { metadata } = settings;
  const resource = settings.audiences.find((identifier) => /^https?:/.test(identifier));
  if (metadata === undefined || resource === undefined) return undefined;
  const identifier = new URL(resource);
  const path = identifier.pathname === '/' ? '' : identifier.pathname;
  const url = new URL(`/.well-known/oauth-protected-resource${path}${identifier.search}`, identifier);
  const json: ResourceMetadata = {
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
  };
  const text = JSON.stringify(json);
  return { url, json, text, entityTag: entityTagOf(text) };
}

export interface MetadataRequest {
  readonly method: unknown;
  /** path and query */
  readonly target: unknown;
  readonly headers: HttpRequestLike['headers'];
}

export interface MetadataAnswer {
  readonly status: 200 | 204 | 304 | 412;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** The document is public, and browser apps of any origin may read it. */
const HEADERS = {
  'Cache-Control': 'public, max-age=300',
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Allow-Headers': '*',
};

/** @returns undefined: the request is for something else */
export function answerMetadata(
  document: MetadataDocument | undefined,
  { method, target, headers }: MetadataRequest,
): MetadataAnswer | undefined {
  if (document === undefined || target !== `${document.url.pathname}${document.url.search}`) return undefined;
  if (method === 'OPTIONS') return { status: 204, headers: HEADERS, body: undefined };
  if (method !== 'GET' && method !== 'HEAD') return undefined;
  const tagged = { ...HEADERS, ETag: document.entityTag };
  const failed = failedCondition(readConditions(headers), document.entityTag);
  if (failed === 'If-None-Match') return { status: 304, headers: tagged, body: undefined };
  if (failed === 'If-Match') {
    return { status: 412, headers: { ...HEADERS, 'Cache-Control': 'no-store' }, body: undefined };
  }
  return {
    status: 200,
    headers: { ...tagged, 'Content-Type': 'application/json; charset=utf-8' },
    // Node leaves it out of the answer to HEAD.
    body: document.text,
  };
}
