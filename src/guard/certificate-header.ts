// The client's certificate as a proxy hands it on that terminates TLS in front of an API.

import { X509Certificate } from 'node:crypto';
import type { HttpRequestLike } from './credentials.ts';

/**
 * For the option `clientCertificate`. Understands RFC 9440 (`Client-Cert: :MIIB…:`) and what nginx has in
 * `$ssl_client_escaped_cert` (PEM, percent-encoded).
 * @param name of the header. The proxy must set or remove it at every request: whoever else can set it can be anybody.
 * @returns a function from a request to the certificate in DER; undefined when there is none, or it cannot be read
 */
export function certificateFromHeader(name: string): (request: HttpRequestLike) => Uint8Array | undefined {
  const header = name.toLowerCase();
  return ({ headers, rawHeaders = [] }) => {
    const value = headers[header];
    const occurrences = rawHeaders.filter((each, index) => index % 2 === 0 && each.toLowerCase() === header);
    if (typeof value !== 'string' || occurrences.length > 1) return undefined;
    try {
      const [, structured] = /^:([A-Za-z0-9+/=]+):$/.exec(value.trim()) ?? [];
      return new X509Certificate(
        structured === undefined ? decodeURIComponent(value) : Buffer.from(structured, 'base64'),
      ).raw;
    } catch {
      return undefined;
    }
  };
}
