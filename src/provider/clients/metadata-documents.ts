// Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document-02): which addresses
// may describe a client, and what such a client may be: the same as a dynamically registered one.
// The engine fetches (through our outbound guard, 5 KB at most), checks that the document names its
// own address and no shared secret, and caches it for as long as its headers say, within bounds. It
// does not cache failures (§5.2), so the number of fetches is limited by network address.

import { randomUUID } from 'node:crypto';
import type { Configuration } from 'oidc-provider';
import { assertSensible } from '../../clients/metadata-rules.ts';
import { assertAllowed, parseUnverified } from '../../clients/registration/unverified.ts';
import type { Log } from '../../log.ts';
import type { GuessThrottle } from '../../users/throttle.ts';
import { isDocumentFetch } from '../engine-internals.ts';
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

/** Of one network address, which a whole office may share. What is cached is not fetched. */
export const DOCUMENT_FETCHES = { attempts: 60, windowSeconds: 60 };

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
    // A minute at least, so that no request makes us fetch at will; a day at most, so that a change
    // counts.
    cacheDuration: { min: 60, max: 86_400 },
    // A document that the engine has fetched in another way than `isDocumentFetch` knows was not
    // checked.
    allowClient: async (_ctx, client) => client[DOCUMENT_CHECK] === CHECKED,
    allowFetch: async (ctx, clientId) => isAllowed(clientId) && (await throttle.attempt(ctx.ip)) === undefined,
  };
}

/**
 * Configuration `fetch`: metadata documents are checked as they arrive, and members that they may
 * not set are removed.
 */
export function checkingDocuments(
  send: typeof fetch,
  log: Log,
): (url: string | URL, init: RequestInit) => Promise<Response> {
  return async (url, init) => {
    const response = await send(url, init);
    if (!isDocumentFetch(init) || response.status !== 200) return response;
    try {
      return await check(response);
    } catch (error) {
      const reason = (error as Error).message;
      log.info({ client_id: String(url), reason }, 'a client ID metadata document is not valid');
      throw error;
    }
  };
}

async function check(response: Response): Promise<Response> {
  const headers = [...response.headers];
  const type = response.headers.get('content-type') ?? '';
  // §5: a file of another type that a host lets its users upload is no document.
  if (!/^application\/([\w.-]+\+)?json *(;|$)/i.test(type)) throw new TypeError(`the content type is ${type}`);
  const text = await response.text();
  const document = JSON.parse(text) as Record<string, unknown> | null;
  // The engine refuses these by itself, with a better description.
  if (
    Buffer.byteLength(text) > MAX_SIZE_BYTES ||
    typeof document !== 'object' ||
    document === null ||
    hasSecret(document)
  ) {
    return new Response(text, { headers });
  }
  const metadata = parseUnverified(document);
  assertSensible(metadata);
  assertAllowed(metadata, {});
  return new Response(JSON.stringify({ client_id: document.client_id, ...metadata, [DOCUMENT_CHECK]: CHECKED }), {
    headers,
  });
}

function hasSecret(document: Readonly<Record<string, unknown>>): boolean {
  return 'client_secret' in document || 'client_secret_expires_at' in document;
}
