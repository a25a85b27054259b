// Mode `introspection`: calls the issuer for every token (RFC 7662), opaque or JWT, so that a
// revocation, a disabled client or a removed policy row takes effect at once.

import { createIntrospectionCache } from './introspection-cache.ts';
import type { IntrospectionOptions } from './options.ts';
import type { Claims, Verifier } from './principal.ts';
import { Fault } from './refusal.ts';
import { REQUEST_TIMEOUT_MS, requestJson } from './remote.ts';

export function createIntrospectionVerifier(
  options: IntrospectionOptions,
  fetchImplementation: typeof fetch,
  endpointUrl: () => Promise<URL>,
): Verifier {
  const authorization = basicAuthorization(options.clientId, options.clientSecret);
  const cache = createIntrospectionCache(options.cacheSeconds ?? 0);

  async function introspect(token: string): Promise<Claims> {
    return requestJson(fetchImplementation, await endpointUrl(), {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      timeoutMs: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
    });
  }

  return async (token) => {
    const cached = cache.find(token);
    if (cached !== undefined) return cached;
    const claims = await introspect(token);
    // The boolean `true` only: the string "false" is truthy.
    if (claims.active !== true) throw new Fault('invalid_token', 'not active');
    // RFC 7662 §2.2 makes `token_type` optional. Without it a refresh token would pass for an
    // access token.
    if (typeof claims.token_type !== 'string' || !/^(?:bearer|dpop)$/i.test(claims.token_type)) {
      throw new Fault('invalid_token', 'not an access token');
    }
    // RFC 9449 §6.2: a DPoP-bound token is described with the key that it is bound to.
    if (claims.token_type.toLowerCase() === 'dpop' && claims.cnf === undefined) {
      throw new Fault('invalid_token', 'bound to a key that is not named');
    }
    cache.insert(token, claims);
    return claims;
  };
}

/** RFC 6749 §2.3.1: id and secret are form-urlencoded first, so that both may contain a colon. */
function basicAuthorization(clientId: string, clientSecret: string): string {
  const [encodedId, encodedSecret] = [clientId, clientSecret].map((value) =>
    new URLSearchParams({ '': value }).toString().slice(1),
  );
  return `Basic ${Buffer.from(`${encodedId}:${encodedSecret}`).toString('base64')}`;
}
