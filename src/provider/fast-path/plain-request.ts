// Which requests the fast path takes: an allow-list of what the request line and the headers may be. Everything else goes to the
// engine's own pipeline, whatever it means.

import type { IncomingMessage } from 'node:http';
import { VERIFIED_SUFFIX } from '../clients/client-certificate.ts';

export interface PlainRequestOptions {
  /** in which a proxy passes a client certificate on */
  readonly certificateHeader: string | undefined;
}

/** The engine reads forms of this size. */
const MAX_BODY_BYTES = 56 * 1024;

const FORM = /^application\/x-www-form-urlencoded(?:; ?charset=utf-8)?$/i;

/** Those that change nothing at these endpoints, and those that the shared steps read (authorization, dpop, origin). */
const HEADERS = [
  ...['host', 'connection', 'content-type', 'content-length', 'authorization', 'dpop', 'origin', 'referer', 'cookie'],
  ...['accept', 'accept-encoding', 'accept-language', 'accept-charset', 'user-agent', 'cache-control', 'pragma', 'te'],
  ...['forwarded', 'via', 'x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-port', 'x-real-ip'],
  ...['x-request-id', 'traceparent', 'tracestate', 'baggage', 'priority', 'dnt', 'sec-gpc', 'keep-alive'],
  ...['sec-fetch-site', 'sec-fetch-mode', 'sec-fetch-dest', 'sec-fetch-user', 'sec-fetch-storage-access'],
  ...['sec-ch-ua', 'sec-ch-ua-mobile', 'sec-ch-ua-platform'],
];

/** RFC 9110 §12.5.1: of those that prefer JSON, the ones that libraries send. One that asks for a JWT or a page is not among them. */
const ACCEPT = new Set([
  ...['*/*', 'application/json', 'application/json, */*', 'application/json, text/plain, */*'],
  ...['application/json,*/*', 'application/json,text/plain,*/*', 'application/json;charset=UTF-8'],
]);

export function createPlainRequests({ certificateHeader }: PlainRequestOptions): (request: IncomingMessage) => boolean {
  const ofProxy = certificateHeader === undefined ? [] : [certificateHeader, certificateHeader + VERIFIED_SUFFIX];
  const known = new Set([...HEADERS, ...ofProxy]);
  return ({ method, headers }) => {
    const { accept } = headers;
    if (accept !== undefined && !ACCEPT.has(accept)) return false;
    for (const name in headers) if (!known.has(name)) return false;
    return method === 'POST' ? announcesForm(headers) : headers['content-length'] === undefined;
  };
}

function announcesForm(headers: IncomingMessage['headers']): boolean {
  const length = Number(headers['content-length']);
  return length > 0 && length <= MAX_BODY_BYTES && FORM.test(headers['content-type'] ?? '');
}
