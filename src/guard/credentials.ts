// What a request presents: a token, and for tokens that are bound to a key, what shows that the caller has it. The only door for a
// token is the Authorization header (RFC 6750 §2.1, RFC 9449 §7.1). Tokens in a query string or a form body are never read, because
// they end up in logs, histories and Referer headers (RFC 9700 §4.3.2).

import { Fault } from './refusal.ts';

/** Larger than any token of Lanyard by far, small enough to hash and verify without a thought. */
const MAX_TOKEN_BYTES = 16 * 1024;

/** One request, as far as the guard is interested. The adapters make it; by hand: `presented(req)`. */
export interface PresentedRequest {
  /** of the Authorization header: all values if there were several */
  readonly authorization: string | readonly string[] | undefined;
  /** of the DPoP header (RFC 9449 §4.1): all values if there were several */
  readonly dpop?: string | readonly string[] | undefined;
  /** the HTTP method, in capitals */
  readonly method?: string | undefined;
  /** path and query, as they were requested */
  readonly target?: string | undefined;
  /** the client's certificate in DER, from the handshake of this connection or a proxy that may be believed */
  readonly clientCertificate?: Uint8Array | undefined;
}

/** The members of a Node request that the adapters read. */
export interface HttpRequestLike {
  readonly headers: { readonly authorization?: string | undefined; readonly [name: string]: unknown };
  /** name, value, name, value, … as received */
  readonly rawHeaders?: readonly string[] | undefined;
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** Express and Connect keep the address here before they cut off where a router is mounted. */
  readonly originalUrl?: string | undefined;
  readonly socket?: unknown;
}

/** What a Node request presents. */
export function presented(request: HttpRequestLike): PresentedRequest {
  return {
    authorization: valuesOf(request, 'authorization'),
    dpop: valuesOf(request, 'dpop'),
    method: request.method,
    target: request.originalUrl ?? request.url,
    clientCertificate: certificateOfConnection(request.socket),
  };
}

/** All values if there are several: Node silently drops all but the first of some headers, and joins those of others. */
function valuesOf(request: HttpRequestLike, header: string): string | string[] | undefined {
  const values = (request.rawHeaders ?? []).filter(
    (_, index, raw) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === header,
  );
  if (values.length > 1) return values;
  const value = request.headers[header];
  return typeof value === 'string' ? value : undefined;
}

/** Of a TLS connection whose server asked for a certificate; the handshake has proved the possession of its key. */
function certificateOfConnection(socket: unknown): Uint8Array | undefined {
  const { getPeerCertificate } = (socket ?? {}) as { getPeerCertificate?: () => { raw?: Uint8Array } | undefined };
  return getPeerCertificate?.call(socket)?.raw;
}

export interface Credentials {
  readonly scheme: 'Bearer' | 'DPoP';
  readonly token: string;
}

/** @throws Fault `missing_token`, `invalid_request` or `invalid_token` */
export function readCredentials(authorization: string | readonly string[] | undefined): Credentials {
  const values = typeof authorization === 'string' ? [authorization] : (authorization ?? []);
  // RFC 6750 §3.1, invalid_request: "repeats the same parameter, uses more than one method for including an access token".
  // Whoever stands in front might have checked the other one.
  if (values.length > 1) throw new Fault('invalid_request', 'several Authorization headers');
  const value = values[0]?.trim() ?? '';
  // RFC 9110 §11.1: the scheme is case-insensitive. Another scheme counts as no token (RFC 6750 §3.1).
  const [, name] = /^(bearer|dpop)(?: |$)/i.exec(value) ?? [];
  if (name === undefined) throw new Fault('missing_token', 'no bearer token');
  const scheme = name.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer';
  const token = value.slice(name.length).trimStart();
  if (token === '') throw new Fault('invalid_request', `the ${scheme} scheme without a token`);
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) throw new Fault('invalid_token', 'the token is too large');
  if (/[\s,]/.test(token)) throw new Fault('invalid_request', 'several credentials in the Authorization header');
  // RFC 6750 §2.1: b64token
  if (!/^[\w.~+/-]+=*$/.test(token)) throw new Fault('invalid_token', 'characters that no token has');
  return { scheme, token };
}
