// Mode `introspection`: asks the issuer about every token (RFC 7662), opaque or JWT, so that a revocation, a disabled client or
// a policy row that was taken away counts at once.

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

  async function ask(token: string): Promise<Claims> {
    return requestJson(fetchImplementation, await endpointUrl(), {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ token, token_type_hint: 'access_token' }).toString(),
      timeoutMs: options.timeoutMs ?? REQUEST_TIMEOUT_MS,
    });
  }

  return async (token) => {
    const known = cache.find(token);
    if (known !== undefined) return known;
    const answer = await ask(token);
    // The boolean and nothing that looks like it: the string "false" is true for a careless `if`.
    if (answer.active !== true) throw new Fault('invalid_token', 'not active');
    // RFC 7662 §2.2 leaves `token_type` to the issuer, but without it a refresh token could pass for an access token.
    if (typeof answer.token_type !== 'string' || !/^(?:bearer|dpop)$/i.test(answer.token_type)) {
      throw new Fault('invalid_token', 'not an access token');
    }
    // RFC 9449 §6.2: the issuer says that it is bound, so it must say to what.
    if (answer.token_type.toLowerCase() === 'dpop' && answer.cnf === undefined) {
      throw new Fault('invalid_token', 'bound to a key that is not named');
    }
    cache.insert(token, answer);
    return answer;
  };
}

/** RFC 6749 §2.3.1: id and secret are form-urlencoded first, or a colon in the id would end it. */
function basicAuthorization(clientId: string, clientSecret: string): string {
  const [encodedId, encodedSecret] = [clientId, clientSecret].map((value) =>
    new URLSearchParams({ '': value }).toString().slice(1),
  );
  return `Basic ${Buffer.from(`${encodedId}:${encodedSecret}`).toString('base64')}`;
}
