// What requests without a user and without an authenticated client may store: so many rows a minute
// for each network address, so many for each client, and parameters of a few KB. It is checked where
// such a row is saved (tokens/model-adapter, logout/session-storage) and where a DPoP proof is
// counted as used (configuration/replay-detection), so that no endpoint can forget it.
//
// Each process counts in memory: to count in the database would be a write for each request. With
// several processes the limits are up to so many times as high.

import { LRUCache } from 'lru-cache';
import { errors, type KoaContextWithOIDC } from 'oidc-provider';
import { networkOf } from '../../users/throttle.ts';
import { currentContext } from '../engine-internals.ts';
import { UNAVAILABLE } from '../http/unavailable.ts';

/** Of all parameters together: what is stored is twice as large, encoded and encrypted. */
const MAX_ANONYMOUS_BYTES = 4_096;

const WINDOW_MS = 60_000;
/** Some ten megabytes. The address or client that has been quiet for longest is forgotten first. */
const MAX_COUNTED = 50_000;

export interface WriteBudgetLimits {
  readonly writesPerAddress: number;
  readonly writesPerClient: number;
}

export interface WriteBudget {
  /**
   * For a row of an unauthenticated request. Counts the current request, once.
   * @param clientId of the client that the request names
   * @throws OIDCProviderError 429, or 400 when the parameters are too large
   */
  charge(clientId: string | undefined): void;
}

export function createWriteBudget({ writesPerAddress, writesPerClient }: WriteBudgetLimits): WriteBudget {
  const judged = new WeakMap<KoaContextWithOIDC, Refusal>();
  const addresses = createCounter(writesPerAddress);
  const clients = createCounter(writesPerClient);

  function judge(ctx: KoaContextWithOIDC, clientId: string | undefined): Refusal {
    const ofAddress = () => refuseFor(ctx, addresses(networkOf(ctx.ip)), 'from this address');
    const ofClient = () => (clientId === undefined ? undefined : refuseFor(ctx, clients(clientId), 'of this client'));
    return refuseLarge(ctx) ?? ofAddress() ?? ofClient();
  }

  return {
    charge(clientId) {
      const ctx = currentContext();
      if (ctx === undefined) return;
      if (!judged.has(ctx)) judged.set(ctx, judge(ctx, clientId));
      // The engine saves the session of a request that was refused once more.
      const refusal = judged.get(ctx);
      if (refusal !== undefined) throw refusal;
    },
  };
}

/** @returns a function that counts one more of a key; if there were too many already, it returns the milliseconds to wait */
function createCounter(most: number): (key: string) => number | undefined {
  const counts = new LRUCache<string, { used: number }>({ max: MAX_COUNTED, ttl: WINDOW_MS, ttlResolution: 0 });
  return (key) => {
    const count = counts.get(key);
    if (count === undefined) counts.set(key, { used: 1 });
    else if (count.used >= most) return counts.getRemainingTTL(key);
    else count.used += 1;
    return undefined;
  };
}

type Refusal = errors.OIDCProviderError | undefined;

function refuseFor(ctx: KoaContextWithOIDC, waitMs: number | undefined, whose: string): Refusal {
  if (waitMs === undefined) return undefined;
  ctx.set('Retry-After', String(Math.max(1, Math.ceil(waitMs / 1000))));
  const description = `too many requests ${whose} without authentication; try again later`;
  return shown(new errors.OIDCProviderError(429, UNAVAILABLE), description);
}

/** As the request sends them, request objects included; what it refers to was judged when it was stored. */
function refuseLarge(ctx: KoaContextWithOIDC): Refusal {
  const sent: object = (ctx.method === 'POST' ? (ctx.oidc as { body?: object }).body : ctx.query) ?? {};
  const sizeBytes = Object.entries(sent)
    .flat(2)
    .reduce((sum, text) => sum + Buffer.byteLength(String(text)), 0);
  if (sizeBytes <= MAX_ANONYMOUS_BYTES) return undefined;
  const description = `the parameters must not be larger than ${MAX_ANONYMOUS_BYTES} bytes in all; a client that authenticates may push more (RFC 9126)`;
  return shown(new errors.InvalidRequest(description), description);
}

/** To the person in front of the browser: the app would send it here again. */
function shown(error: errors.OIDCProviderError, description: string): errors.OIDCProviderError {
  return Object.assign(error, { error_description: description, allow_redirect: false });
}
