// How the JWT access tokens of a resource server are signed, and what their `typ` is.

import { z } from 'zod';

/** FAPI 2.0 excludes RS256. Ed25519 is the name of RFC 9864, for what was EdDSA. */
export const ACCESS_TOKEN_ALGORITHMS = ['ES256', 'RS256', 'PS256', 'Ed25519'] as const;
export type AccessTokenAlgorithm = (typeof ACCESS_TOKEN_ALGORITHMS)[number];

/** RFC 9068 §2.1; or the general one of RFC 7519 §5.1, for software that knows no other. */
export const ACCESS_TOKEN_TYPES = ['at+jwt', 'JWT'] as const;
export type AccessTokenType = (typeof ACCESS_TOKEN_TYPES)[number];

export const algorithmField = z
  .enum(ACCESS_TOKEN_ALGORITHMS, `must be one of ${ACCESS_TOKEN_ALGORITHMS.join(', ')}`)
  .meta({ description: 'what JWT access tokens are signed with. A published key for it must exist (addKey)' });

export const typeField = z
  .enum(ACCESS_TOKEN_TYPES, `must be ${ACCESS_TOKEN_TYPES.join(' or ')}`)
  .meta({ description: 'the typ of JWT access tokens: at+jwt (RFC 9068), or JWT for software that knows no other' });
