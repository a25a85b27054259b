// The only door for a token: the Authorization header (RFC 6750 §2.1). Tokens in a query string or a form body are never read,
// because they end up in logs, histories and Referer headers (RFC 9700 §4.3.2).

import { Fault } from './refusal.ts';

/** Larger than any token of Lanyard by far, small enough to hash and verify without a thought. */
const MAX_TOKEN_BYTES = 16 * 1024;

/** The members of a Node request that the adapters read. */
export interface HttpRequestLike {
  readonly headers: { readonly authorization?: string | undefined };
  /** name, value, name, value, … as received */
  readonly rawHeaders?: readonly string[] | undefined;
}

/** The header for `guard.check`: all values if there are several, because Node silently drops all but the first. */
export function authorizationOf(request: HttpRequestLike): string | string[] | undefined {
  const values = (request.rawHeaders ?? []).filter(
    (_, index, raw) => index % 2 === 1 && raw[index - 1]?.toLowerCase() === 'authorization',
  );
  return values.length > 1 ? values : request.headers.authorization;
}

/** @throws Fault `missing_token`, `invalid_request` or `invalid_token` */
export function readBearerToken(authorization: string | readonly string[] | undefined): string {
  const values = typeof authorization === 'string' ? [authorization] : (authorization ?? []);
  // RFC 6750 §3.1, invalid_request: "repeats the same parameter, uses more than one method for including an access token".
  // Whoever stands in front might have checked the other one.
  if (values.length > 1) throw new Fault('invalid_request', 'several Authorization headers');
  const value = values[0]?.trim() ?? '';
  // RFC 9110 §11.1: the scheme is case-insensitive. Another scheme counts as no token (RFC 6750 §3.1).
  if (!/^bearer(?: |$)/i.test(value)) throw new Fault('missing_token', 'no bearer token');
  const token = value.slice('bearer'.length).trimStart();
  if (token === '') throw new Fault('invalid_request', 'the Bearer scheme without a token');
  if (Buffer.byteLength(token) > MAX_TOKEN_BYTES) throw new Fault('invalid_token', 'the token is too large');
  if (/[\s,]/.test(token)) throw new Fault('invalid_request', 'several credentials in the Authorization header');
  // RFC 6750 §2.1: b64token
  if (!/^[\w.~+/-]+=*$/.test(token)) throw new Fault('invalid_token', 'characters that no token has');
  return token;
}
