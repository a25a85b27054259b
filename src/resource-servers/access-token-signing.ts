// How the JWT access tokens of a resource server are signed, and what their `typ` is.

import { z } from 'zod';
import { ACCESS_TOKEN_TYPES } from '../guard/access-token-type.ts';

/** FAPI 2.0 excludes RS256. Ed25519 is the name of RFC 9864, for what was EdDSA. */
export const ACCESS_TOKEN_ALGORITHMS = ['ES256', 'RS256', 'PS256', 'Ed25519'] as const;
export type AccessTokenAlgorithm = (typeof ACCESS_TOKEN_ALGORITHMS)[number];

export const algorithmField = z
  .enum(ACCESS_TOKEN_ALGORITHMS, `must be one of ${ACCESS_TOKEN_ALGORITHMS.join(', ')}`)
  .meta({
    description: 'what JWT access tokens are signed with; ES256 if left out. A published key must exist (addKey)',
  });

export const typeField = z.enum(ACCESS_TOKEN_TYPES, `must be ${ACCESS_TOKEN_TYPES.join(' or ')}`).meta({
  description: 'the typ of JWT access tokens: at+jwt (RFC 9068, if left out), or JWT for software that knows no other',
});
