// Logos of apps (`logo_uri`, OpenID Connect Registration §2). Browsers get them from this server: the
// host of the logo does not learn who signs in where, and the pages need not trust it. A logo is
// fetched when a browser asks for it, so that no page waits, and is kept in the memory of each
// process. Only operators register logos (app.ts), so strangers cannot choose what is fetched.

import { createHash } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import type { Log } from '../log.ts';

export interface Logo {
  readonly type: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

export interface Logos {
  /** @returns the path for a page; undefined without a logo, and when it could not be fetched lately */
  pathOf(client: { readonly clientId: string; readonly logoUri?: string | undefined }): string | undefined;
  /** @returns undefined: it cannot be had now */
  find(logoUri: string): Promise<Logo | undefined>;
}

/** Some 100 logos as large as outbound/ takes them, and thousands of ordinary ones. */
const MAX_CACHED_BYTES = 32 * 1024 * 1024;
const MAX_CACHED = 2_000;
const CACHED_MS = 24 * 3_600_000;
/** Until a logo that could not be fetched is tried again. */
const FAILED_MS = 600_000;
const CONCURRENT_FETCHES = 4;
const WAITING_FETCHES = 50;

/**
 * By what the bytes begin with: what the other server says about them is not believed. SVG, a
 * document that may hold scripts, is not among them.
 */
const BEGINNINGS: readonly (readonly [type: string, begins: string, at8?: string])[] = [
  ['image/png', '\x89PNG\r\n\x1a\n'],
  ['image/jpeg', '\xff\xd8\xff'],
  ['image/gif', 'GIF87a'],
  ['image/gif', 'GIF89a'],
  ['image/webp', 'RIFF', 'WEBP'],
];
const ACCEPT = [...new Set(BEGINNINGS.map(([type]) => type))].join(', ');

export function createLogos({ fetch, log }: { fetch: typeof globalThis.fetch; log: Log }): Logos {
  const cache = new LRUCache<string, { readonly logo: Logo | undefined }>({
    max: MAX_CACHED,
    maxSize: MAX_CACHED_BYTES,
    sizeCalculation: ({ logo }, logoUri) => logoUri.length + (logo?.bytes.length ?? 0) + 1,
    ttl: CACHED_MS,
  });
  const underway = new Map<string, Promise<Logo | undefined>>();
  const limit = pLimit(CONCURRENT_FETCHES);

  async function fetchLogo(logoUri: string): Promise<Logo | undefined> {
    let logo: Logo | undefined;
    try {
      const response = await fetch(logoUri, { headers: { accept: ACCEPT } });
      const bytes = new Uint8Array(await response.arrayBuffer());
      const type = response.status === 200 ? typeOf(bytes) : undefined;
      if (type === undefined) throw new Error(`status ${response.status}, and no image of a known type`);
      logo = { type, bytes };
    } catch (error) {
      log.info({ error, logo_uri: logoUri }, 'a logo could not be fetched');
    }
    cache.set(logoUri, { logo }, { ttl: logo === undefined ? FAILED_MS : CACHED_MS });
    return logo;
  }

  return {
    pathOf({ clientId, logoUri }) {
      if (logoUri === undefined) return undefined;
      const cached = cache.get(logoUri);
      if (cached !== undefined && cached.logo === undefined) return undefined;
      // Another address is another image, also for browsers that have kept the first one.
      const version = createHash('sha256').update(logoUri).digest('base64url').slice(0, 8);
      return `/logos/${encodeURIComponent(clientId)}?v=${version}`;
    },
    async find(logoUri) {
      const cached = cache.get(logoUri);
      if (cached !== undefined) return cached.logo;
      const joined = underway.get(logoUri);
      if (joined !== undefined) return joined;
      if (limit.pendingCount >= WAITING_FETCHES) return undefined;
      const fetching = limit(() => fetchLogo(logoUri)).finally(() => underway.delete(logoUri));
      underway.set(logoUri, fetching);
      return fetching;
    },
  };
}

function typeOf(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 16)).toString('latin1');
  return BEGINNINGS.find(([, begins, at8 = '']) => head.startsWith(begins) && head.startsWith(at8, 8))?.[0];
}
