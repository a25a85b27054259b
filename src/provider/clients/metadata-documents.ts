// Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document-02): which URLs may
// describe a client, and what such a client may be: the same as a dynamically registered one. The
// engine fetches (through our outbound guard, 5 KB at most), checks that the document names its own
// URL and no shared secret, and caches it for as long as its headers say, within bounds. It does
// not cache failures (§5.2), so how often it is made to fetch is limited by network address.

import { randomUUID } from 'node:crypto';
import type { Configuration } from 'oidc-provider';
import { type ClientMetadata, DEFAULT_SIGNING_ALGORITHMS } from '../../clients/client.ts';
import { usableKeys } from '../../clients/key-rules.ts';
import type { CachedClient } from '../../clients/lookup.ts';
import { assertSensible } from '../../clients/metadata-rules.ts';
import { type FindReservedWord, reservedNames } from '../../clients/registration/reserved-names.ts';
import {
  assertAllowed,
  assertNotForOperators,
  parseUnverified,
  STRANGER,
} from '../../clients/registration/unverified.ts';
import { findFault } from '../../input/shape.ts';
import type { Log } from '../../log.ts';
import type { GuessThrottle } from '../../users/throttle.ts';
import { isDocumentFetch } from '../engine-internals.ts';
import type { Directory } from '../policy/directory.ts';
import { DOCUMENT_CHECK } from './engine-metadata.ts';

/**
 * In every document that this process has checked. It is random, so that no document can contain
 * it.
 */
const CHECKED = randomUUID();

/** Shorter than the column and the fields that carry client ids. */
const MAX_LENGTH = 255;

/** The engine's `fetchResponseBodyLimits`. */
const MAX_SIZE_BYTES = 5 * 1024;

/**
 * Configuration `features.clientIdMetadataDocument`.
 * @param hosts with or without port; `*`: any
 */
export function metadataDocuments(
  hosts: readonly string[],
  throttle: Pick<GuessThrottle, 'attempt'>,
): NonNullable<NonNullable<Configuration['features']>['clientIdMetadataDocument']> {
  const isAllowed = (clientId: string) => {
    const url = URL.parse(clientId);
    if (url === null || clientId.length > MAX_LENGTH) return false;
    return hosts.includes('*') || hosts.includes(url.hostname) || hosts.includes(url.host);
  };
  return {
    enabled: hosts.length > 0,
    ack: 'draft-02',
    // A minute at least, so that requests cannot cause a fetch each; a day at most, so that a
    // change counts.
    cacheDuration: { min: 60, max: 86_400 },
    // A document that the engine has fetched in another way than `isDocumentFetch` knows was not
    // checked.
    allowClient: async (_ctx, client) => client[DOCUMENT_CHECK] === CHECKED,
    allowFetch: async (ctx, clientId) => isAllowed(clientId) && (await throttle.attempt(ctx.ip)) === undefined,
  };
}

export interface CheckedFetchDeps {
  readonly fetch: typeof fetch;
  readonly issuer: string;
  readonly directory: Pick<Directory, 'findClient'>;
  readonly log: Log;
}

/**
 * Configuration `fetch`. What is fetched for a client (`jwks_uri`, `sector_identifier_uri`,
 * metadata documents) passes the input gate; a metadata document is checked as well, and members
 * that it may not set are removed.
 */
export function checkedFetch({
  fetch: send,
  issuer,
  directory,
  log,
}: CheckedFetchDeps): (url: string | URL, init: RequestInit) => Promise<Response> {
  const findReservedWord = reservedNames(issuer);
  return async (url, init) => {
    const response = await send(url, init);
    if (init.method !== 'GET' || response.status !== 200) return response;
    try {
      return await check({ directory, findReservedWord }, response, isDocumentFetch(init));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.info({ url: String(url), reason }, 'a document of a client was refused');
      throw error;
    }
  };
}

interface CheckDeps extends Pick<CheckedFetchDeps, 'directory'> {
  readonly findReservedWord: FindReservedWord;
}

async function check(
  { directory, findReservedWord }: CheckDeps,
  response: Response,
  isMetadata: boolean,
): Promise<Response> {
  const headers = [...response.headers];
  const type = response.headers.get('content-type') ?? '';
  // §5: other uploads to a host are no metadata documents.
  const isJson = /^application\/([\w.-]+\+)?json *(;|$)/i.test(type);
  if (isMetadata && !isJson) throw new TypeError(`the content type is ${type}`);
  const text = await response.text();
  const document = parse(text);
  const fault = findFault(document);
  if (fault !== undefined) throw new TypeError(`${fault.pointer} ${fault.detail}`.trim());
  if (!isMetadata && isObject(document)) return new Response(JSON.stringify(usableKeys(document)), { headers });
  // What the engine refuses too, it says better.
  const isChecked =
    isMetadata && isObject(document) && Buffer.byteLength(text) <= MAX_SIZE_BYTES && !hasSecret(document);
  if (!isChecked) return new Response(text, { headers });
  // It is not read here, and without it users would get other subjects than the document says.
  if (document.subject_type === 'pairwise') {
    assertNotForOperators({ sector_identifier_uri: document.sector_identifier_uri }, STRANGER);
  }
  const known = typeof document.client_id === 'string' ? await directory.findClient(document.client_id) : undefined;
  const metadata = parseUnverified({ ...formerAlgorithms(known), ...document }, STRANGER);
  assertSensible(metadata);
  assertAllowed(metadata, {}, findReservedWord);
  return new Response(JSON.stringify({ client_id: document.client_id, ...metadata, [DOCUMENT_CHECK]: CHECKED }), {
    headers,
  });
}

/** What migration 0027 has written down for apps that leave the algorithms to this server. */
function formerAlgorithms(known: CachedClient | undefined): ClientMetadata {
  const members = Object.keys(DEFAULT_SIGNING_ALGORITHMS) as (keyof typeof DEFAULT_SIGNING_ALGORITHMS)[];
  const kept = members.filter((member) => known?.metadata[member] === 'ES256');
  return Object.fromEntries(kept.map((member) => [member, 'ES256']));
}

/** @returns undefined for what is not JSON, which the engine refuses */
function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function hasSecret(document: Readonly<Record<string, unknown>>): boolean {
  return 'client_secret' in document || 'client_secret_expires_at' in document;
}
