// Mode `jwt`: verifies RFC 9068 access tokens with the issuer's public keys. It makes no request to
// the issuer per token, so a revoked token is accepted until its `exp`.

import { createRemoteJWKSet, customFetch, errors, type JWTVerifyGetKey, jwtVerify } from 'jose';
import { assertAccessToken } from './access-token-type.ts';
import type { GuardSettings } from './options.ts';
import type { Verifier } from './principal.ts';
import { Fault } from './refusal.ts';
import { REQUEST_TIMEOUT_MS } from './remote.ts';

type JwtSettings = Pick<
  GuardSettings,
  | 'issuer'
  | 'audiences'
  | 'algorithms'
  | 'types'
  | 'clockToleranceSeconds'
  | 'jwksCacheSeconds'
  | 'jwksCooldownSeconds'
  | 'fetch'
>;

export function createJwtVerifier(settings: JwtSettings, jwksUrl: () => Promise<URL>): Verifier {
  const findKey = createKeyFinder(settings, jwksUrl);
  return async (token) => {
    try {
      const { payload, protectedHeader } = await jwtVerify(token, findKey, {
        algorithms: [...settings.algorithms],
        issuer: settings.issuer,
        audience: [...settings.audiences],
        clockTolerance: settings.clockToleranceSeconds,
        // RFC 9068 §2.2
        requiredClaims: ['exp', 'sub', 'client_id'],
      });
      assertAccessToken(protectedHeader.typ, payload, settings.types);
      return payload;
    } catch (error) {
      if (error instanceof errors.JOSEAlgNotAllowed) throw otherAlgorithm(error, settings.algorithms);
      // The key finder has wrapped the JOSEErrors that are not about the token.
      if (error instanceof errors.JOSEError) throw new Fault('invalid_token', error.message);
      throw error;
    }
  };
}

/** Said in public: the API and Lanyard have to be configured alike (`access_token_signing_alg`). */
function otherAlgorithm(error: Error, accepted: readonly string[]): Fault {
  const names = accepted.join(' or ');
  const description = `this API accepts access tokens signed with ${names} (option algorithms of its guard)`;
  return new Fault('invalid_token', error.message, { description });
}

function createKeyFinder(settings: JwtSettings, jwksUrl: () => Promise<URL>): JWTVerifyGetKey {
  let keySet: { readonly href: string; readonly find: JWTVerifyGetKey } | undefined;

  return async (header, token) => {
    const url = await jwksUrl();
    if (keySet?.href !== url.href) {
      const find = createRemoteJWKSet(url, {
        cacheMaxAge: settings.jwksCacheSeconds * 1000,
        cooldownDuration: settings.jwksCooldownSeconds * 1000,
        timeoutDuration: REQUEST_TIMEOUT_MS,
        [customFetch]: settings.fetch,
      });
      keySet = { href: url.href, find };
    }
    try {
      return await keySet.find(header, token);
    } catch (error) {
      if (isAboutToken(error)) throw error;
      throw new Error('the public keys of the issuer are not available', { cause: error });
    }
  };
}

/** The key set was read, and has no (single) key for the `kid` and `alg` of this token. */
function isAboutToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}
