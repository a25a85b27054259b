// Where a request is sent to, by RFC 9112 §3.2: its target and its Host, whose values Node does not look at.

import type { IncomingMessage } from 'node:http';
import { isIPv6 } from 'node:net';

export interface RequestTarget {
  /** path and query, which begin with `/`; or `*` */
  readonly path: string;
  /** of a target in absolute form (§3.2.2), whose authority counts instead of the Host */
  readonly scheme: string | undefined;
  /** host and port, as they were sent */
  readonly authority: string;
}

const ABSOLUTE_FORM = /^(https?):\/\/([^/?]*)(.*)$/i;

/** RFC 3986 §2: everything else is percent-encoded. A fragment is never sent (RFC 9110 §7.1). */
const NOT_IN_TARGET = /[^!-~]|#/;

/** RFC 3986 §3.2.2, §3.2.3, without IPvFuture, of which there is none. */
const HOST_AND_PORT = /^(?:\[([\da-f:.]*)\]|(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})*)(?::\d*)?$/i;

export const INVALID_HOST = 'the Host header is not a host with an optional port';

/** @returns why it is a bad request, as text, if it is one */
export function readTarget(request: IncomingMessage): RequestTarget | string {
  const { url: target = '', method, headers } = request;
  const { host } = headers;
  if (NOT_IN_TARGET.test(target)) return 'the request target must be percent-encoded, and without a fragment';
  if (hasSeveralHosts(request)) return 'the request has several Host headers';
  if (host === undefined && request.httpVersion !== '1.0') return 'the request has no Host header';
  if (method !== 'CONNECT') {
    if (target.startsWith('/')) return { path: target, scheme: undefined, authority: host ?? '' };
    if (target === '*' && method === 'OPTIONS') return { path: target, scheme: undefined, authority: host ?? '' };
    const [, scheme, authority = '', path = ''] = ABSOLUTE_FORM.exec(target) ?? [];
    // RFC 9110 §4.2.1: an empty host is invalid. §4.2.4: so is user information, which hides the host.
    if (scheme !== undefined && authority !== '' && isHostAndPort(authority)) {
      if (!isHostAndPort(host ?? '')) return INVALID_HOST;
      return { path: path.startsWith('/') ? path : `/${path}`, scheme: scheme.toLowerCase(), authority };
    }
  }
  return 'the request target must be a path or an http URL';
}

/** Whether it has the syntax of a Host. An empty one has. */
export function isHostAndPort(authority: string): boolean {
  const [match, address] = HOST_AND_PORT.exec(authority) ?? [];
  return match !== undefined && (address === undefined || isIPv6(address));
}

/** Node keeps the first one, a proxy in front may have gone by another. */
function hasSeveralHosts({ rawHeaders }: IncomingMessage): boolean {
  let count = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === 4 && name.toLowerCase() === 'host') count++;
  }
  return count > 1;
}
