// The credentials of a request: the token, and the proof of possession for tokens that are bound
// to a key. Tokens are read from the Authorization header only (RFC 6750 §2.1, RFC 9449 §7.1),
// because those in a query string or a form body end up in logs, histories and Referer headers
// (RFC 9700 §4.3.2).

import { Fault } from './refusal.ts';

/** Far larger than any token of Lanyard, and small enough to be cheap to hash and verify. */
const MAX_TOKEN_BYTES = 16 * 1024;

/** The parts of a request that the guard uses. `presented(req)` makes it from a Node request. */
export interface PresentedRequest {
  /** of the Authorization header: all values if there were several */
  readonly authorization: string | readonly string[] | undefined;
  /** of the DPoP header (RFC 9449 §4.1): all values if there were several */
  readonly dpop?: string | readonly string[] | undefined;
  /** the HTTP method, in capitals */
  readonly method?: string | undefined;
  /** path and query, as they were requested */
  readonly target?: string | undefined;
  /** the client's certificate in DER, from the TLS handshake or from a trusted proxy */
  readonly clientCertificate?: Uint8Array | undefined;
}

/** The members of a Node request that the adapters read. */
export interface HttpRequestLike {
  readonly headers: { readonly authorization?: string | undefined; readonly [name: string]: unknown };
  /** name, value, name, value, … as received */
  readonly rawHeaders?: readonly string[] | undefined;
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** Express and Connect strip the mount path from `url` and keep the whole target here. */
  readonly originalUrl?: string | undefined;
  readonly socket?: SocketLike | null | undefined;
}

/** The members of a Node socket that the guard reads. */
export interface SocketLike {
  readonly remoteAddress?: string | undefined;
  /** of a `TLSSocket` */
  readonly getPeerCertificate?: (() => { readonly raw?: Uint8Array } | undefined) | undefined;
}

/** The parts of a Node request that the guard uses. */
export function presented(request: HttpRequestLike): PresentedRequest {
  return {
    authorization: valuesOf(request, 'authorization'),
    dpop: valuesOf(request, 'dpop'),
    method: request.method,
    target: request.originalUrl ?? request.url,
    clientCertificate: certificateOfConnection(request.socket),
  };
}

/** All values if there are several; Node drops or joins repeated headers in `headers`. */
function valuesOf(request: HttpRequestLike, header: string): string | string[] | undefined {
  const values = (request.rawHeaders ?? []).filter(
    (_, index, raw) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === header,
  );
  if (values.length > 1) return values;
  const value = request.headers[header];
  return typeof value === 'string' ? value : undefined;
}

/** The TLS handshake has proved that the client has the key of this certificate. */
function certificateOfConnection(socket: HttpRequestLike['socket']): Uint8Array | undefined {
  return socket?.getPeerCertificate?.()?.raw;
}

export interface Credentials {
  readonly scheme: 'Bearer' | 'DPoP';
  readonly token: string;
}

/** @throws Fault `missing_token`, `invalid_request` or `invalid_token` */
export function readCredentials(authorization: string | readonly string[] | undefined): Credentials {
  const values = typeof authorization === 'string' ? [authorization] : (authorization ?? []);
  // RFC 6750 §3.1, invalid_request: "repeats the same parameter". A proxy in front of the API may
  // have checked the other one.
  if (values.length > 1) throw new Fault('invalid_request', 'several Authorization headers');
  const value = values[0]?.trim() ?? '';
  // RFC 9110 §11.1: the scheme is case-insensitive. With another scheme there is no token.
  const [, name] = /^(bearer|dpop)(?: |$)/i.exec(value) ?? [];
  if (name === undefined) throw new Fault('missing_token', 'no bearer token');
  const scheme = name.toLowerCase() === 'dpop' ? 'DPoP' : 'Bearer';
  // RFC 9110 §11.4: `1*SP`
  const token = value.slice(name.length).replace(/^ +/, '');
  if (token === '') throw new Fault('invalid_request', `the ${scheme} scheme without a token`);
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) throw new Fault('invalid_token', 'the token is too large');
  if (/[\s,]/.test(token)) throw new Fault('invalid_request', 'several credentials in the Authorization header');
  // RFC 6750 §2.1: b64token
  if (!/^[\w.~+/-]+=*$/.test(token)) throw new Fault('invalid_token', 'invalid characters in the token');
  return { scheme, token };
}
