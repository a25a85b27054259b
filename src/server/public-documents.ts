// Documents that are the same for every caller: what clients discover, the public keys, the sign of
// life. They are made when something changes and kept as bytes, and a plain request for one is
// answered here, right after the prelude has judged it: no app, no database. Every other request for
// them (another method, a query, a body) is left to the app that owns the path.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { entityTagOf, failedCondition, readConditions } from '../guard/entity-tag.ts';

export interface PublicDocument {
  readonly path: string;
  readonly contentType: string;
  readonly text: string;
  /** for how long a cache may use it without asking; undefined: it must not be stored */
  readonly maxAgeSeconds: number | undefined;
  /** browser apps of every origin may read it */
  readonly isForBrowserApps: boolean;
}

export interface PublicDocuments {
  /** From now on these are all. */
  publish(documents: readonly PublicDocument[]): void;
  /** @returns whether it has answered */
  answer(request: IncomingMessage, response: ServerResponse): boolean;
}

/** What does not depend on the request. */
interface Prepared {
  /** its characters are bytes, so that head and body are written in one piece */
  readonly body: string;
  /** undefined: each answer is a new one */
  readonly entityTag: string | undefined;
  readonly isForBrowserApps: boolean;
  /** of every answer */
  readonly headers: readonly string[];
  /** of an answer with the document */
  readonly contentHeaders: readonly string[];
}

/** @param rawHeaders those of every answer of this server; names and values alternate */
export function createPublicDocuments(rawHeaders: (request: IncomingMessage) => string[]): PublicDocuments {
  let prepared = new Map<string, Prepared>();
  return {
    publish(documents) {
      prepared = new Map(documents.map((document) => [document.path, prepare(document)]));
    },
    answer(request, response) {
      const document = prepared.get(request.url ?? '');
      if (document === undefined || !isPlain(request)) return false;
      write(document, rawHeaders(request), request, response);
      return true;
    },
  };
}

const CHANGED = JSON.stringify({ error: 'precondition_failed', error_description: 'it has changed (If-Match)' });

function isPlain({ method, headers }: IncomingMessage): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false;
  return headers['content-length'] === undefined && headers['transfer-encoding'] === undefined;
}

function prepare({ text, contentType, maxAgeSeconds, isForBrowserApps }: PublicDocument): Prepared {
  const bytes = Buffer.from(text);
  const entityTag = maxAgeSeconds === undefined ? undefined : entityTagOf(bytes);
  return {
    body: bytes.toString('latin1'),
    entityTag,
    isForBrowserApps,
    headers: [
      ...['Cache-Control', cacheControl(maxAgeSeconds)],
      ...(entityTag === undefined ? [] : ['ETag', entityTag]),
      // The answer names the origin of the request, as the engine's CORS does it.
      ...(isForBrowserApps ? ['Vary', 'Origin'] : []),
    ],
    contentHeaders: ['Content-Type', contentType, 'Content-Length', String(bytes.length)],
  };
}

/** RFC 9111 §5.2.2 */
function cacheControl(maxAgeSeconds: number | undefined): string {
  if (maxAgeSeconds === undefined) return 'no-store';
  return maxAgeSeconds === 0 ? 'no-cache' : `public, max-age=${maxAgeSeconds}`;
}

function write(document: Prepared, headers: string[], request: IncomingMessage, response: ServerResponse): void {
  const { body, entityTag, isForBrowserApps, contentHeaders } = document;
  if (isForBrowserApps) headers.push('Access-Control-Allow-Origin', request.headers.origin || '*');
  const failed = entityTag === undefined ? undefined : failedCondition(readConditions(request.headers), entityTag);
  if (failed === 'If-Match') {
    // Not stored: it is no answer to a request without this condition.
    headers.push('Cache-Control', 'no-store', 'Content-Type', 'application/json; charset=utf-8');
    response.writeHead(412, headers).end(CHANGED);
    return;
  }
  headers.push(...document.headers);
  if (failed === 'If-None-Match') {
    response.writeHead(304, headers).end();
    return;
  }
  headers.push(...contentHeaders);
  response.writeHead(200, headers);
  if (request.method === 'HEAD') response.end();
  else response.end(body, 'latin1');
}
