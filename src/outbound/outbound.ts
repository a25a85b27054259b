// The only way in which this server sends requests to addresses that clients name: their keys and documents, logout notices. A client
// must not reach through it what only this machine can reach: the machine itself, its network, the metadata service of
// a cloud (server-side request forgery; RFC 9700 §4.16, OpenID Connect Registration §9).
//
// The address is checked when the connection is made, after the name was resolved, so that a name which resolves differently later
// does not pass (DNS rebinding). Proxies of the environment are ignored. The configured proxy gets only names that passed the same
// check. It resolves them again, and the TLS certificate must be valid for the name before the request is sent.

import { lookup as dnsLookup, type LookupAddress } from 'node:dns';
import { isIP } from 'node:net';
import { promisify } from 'node:util';
import type { Dispatcher } from 'undici';
import { isPublicAddress } from './public-address.ts';

export interface OutboundOptions {
  /** hosts, with or without port, that may be reached wherever they are, over http as well */
  readonly allowedHosts: readonly string[];
  /** http(s) URL */
  readonly proxy?: string | undefined;
}

export interface Outbound {
  /**
   * Like the global `fetch`, for https only. Redirects are never followed: they are an error, or returned (`redirect: 'manual'`).
   * @throws TypeError when the address is not allowed, does not answer in time, or answers with too long a body
   */
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

/** Until the body is complete: a request to this server waits for it. */
const TIMEOUT_MS = 5_000;
/** Larger than any key set or document that there is. */
const MAX_BODY_BYTES = 256 * 1024;

export class OutboundError extends TypeError {
  override readonly name = 'OutboundError';
}

export function createOutbound({ allowedHosts, proxy }: OutboundOptions): Outbound {
  const allowed = new Set(allowedHosts);
  const isAllowed = (url: URL) =>
    allowed.has(url.hostname) || allowed.has(url.port === '' ? `${url.hostname}:443` : url.host);
  let started: ReturnType<typeof start> | undefined;

  /** Many servers never fetch anything, and none does while it starts. */
  async function start() {
    const { Agent, ProxyAgent, fetch } = await import('undici');
    const guarded: Dispatcher =
      proxy === undefined ? new Agent({ connect: { lookup: publicLookup } }) : new ProxyAgent(proxy);
    return { fetch, guarded, unguarded: proxy === undefined ? new Agent() : guarded };
  }

  /** @returns whether the address of the connection need not be checked  @throws OutboundError */
  async function checkAddress(url: URL): Promise<boolean> {
    if (url.username !== '' || url.password !== '') throw new OutboundError('addresses with credentials are not used');
    if (isAllowed(url)) return true;
    if (url.protocol !== 'https:') throw new OutboundError('only https addresses are used');
    const host = url.hostname.replace(/^\[|\]$/g, '');
    // Node does not call `lookup` for an IP address.
    if (isIP(host) !== 0 && !isPublicAddress(host)) throw new OutboundError('the address is not public');
    // The proxy makes the connection, so `publicLookup` does not see it.
    if (proxy !== undefined && isIP(host) === 0) await assertPublic(host);
    return false;
  }

  async function send(input: string | URL | Request, init: RequestInit = {}): Promise<Response> {
    const url = new URL(input instanceof Request ? input.url : input);
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const isExempt = await checkAddress(url);
    started ??= start();
    const { fetch, guarded, unguarded } = await started;
    const response = await fetch(url, {
      method: init.method ?? 'GET',
      // An address in a Location would not be checked.
      redirect: init.redirect === 'manual' ? 'manual' : 'error',
      ...(init.headers === undefined ? {} : { headers: Object.fromEntries(new Headers(init.headers)) }),
      ...(init.body === undefined || init.body === null ? {} : { body: String(init.body) }),
      signal: init.signal ? AbortSignal.any([init.signal, timeout]) : timeout,
      dispatcher: isExempt ? unguarded : guarded,
    });
    const body = await readLimited(response);
    const hasBody = ![101, 204, 205, 304].includes(response.status);
    return new Response(hasBody ? new Uint8Array(body) : null, {
      status: response.status,
      headers: [...response.headers],
    });
  }

  return {
    fetch: send as typeof fetch,
    async close() {
      const { guarded, unguarded } = (await started) ?? {};
      await guarded?.close();
      if (unguarded !== guarded) await unguarded?.close();
    },
  };
}

async function readLimited(response: { readonly body: AsyncIterable<Uint8Array> | null }): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    // Leaving the loop ends the connection.
    if (sizeBytes > MAX_BODY_BYTES) throw new OutboundError('the answer is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

type LookupCallback = (error: Error | null, address: string | LookupAddress[], family?: number) => void;

/** All addresses of the name must be public: Node chooses among them. */
function publicLookup(hostname: string, options: object, callback: LookupCallback): void {
  dnsLookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error !== null) return callback(error, []);
    if (addresses.length === 0 || !addresses.every(({ address }) => isPublicAddress(address))) {
      return callback(new OutboundError('the name does not lead to a public address'), []);
    }
    if ((options as { all?: boolean }).all === true) return callback(null, addresses);
    const [first] = addresses as [LookupAddress];
    callback(null, first.address, first.family);
  });
}

async function assertPublic(hostname: string): Promise<void> {
  await promisify<string, object, unknown>(publicLookup as never)(hostname, {});
}
