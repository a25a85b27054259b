// A user: a person who signs in on our pages. Claims are those of OpenID Connect Core §5.1 and no
// others, so that a profile cannot put a claim that means something to a resource server
// (client_id, azp, scope) into a token.

import { z } from 'zod';

/** Of a name that was stored before names were compared by PRECIS: it refuses it, or others have become equal to it. */
export const USERNAME_PROBLEMS = ['refused', 'collision'] as const;
export type UsernameProblem = (typeof USERNAME_PROBLEMS)[number];

export interface User {
  /** the `sub` of the tokens */
  readonly id: string;
  readonly username: string;
  /** undefined: none; other spellings of the name, in capitals say, are this user's too */
  readonly usernameProblem: UsernameProblem | undefined;
  readonly email: string | undefined;
  readonly claims: UserClaims;
  readonly isDisabled: boolean;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

const words = z.string('must be text').min(1, 'must not be empty').max(500, 'must have 500 characters at most');
const url = words.refine((value) => /^https?:$/.test(URL.parse(value)?.protocol ?? ''), 'must be an http(s) URL');

/** OpenID Connect Core §5.1, without sub and email (members of User) and updated_at. */
export const userClaimsSchema = z
  .strictObject({
    name: words,
    given_name: words,
    family_name: words,
    middle_name: words,
    nickname: words,
    preferred_username: words,
    profile: url,
    picture: url,
    website: url,
    gender: words,
    birthdate: words.regex(/^(\d{4}|0000)(-\d{2}-\d{2})?$/, 'must be YYYY-MM-DD or YYYY'),
    zoneinfo: words,
    locale: words,
    email_verified: z.boolean('must be true or false'),
    phone_number: words.regex(/^\+?[0-9 ().-]{3,30}(;ext=\d+)?$/, 'must be a phone number, best in E.164'),
    phone_number_verified: z.boolean('must be true or false'),
    address: z
      .strictObject({
        formatted: words,
        street_address: words,
        locality: words,
        region: words,
        postal_code: words,
        country: words,
      })
      .partial(),
  })
  .partial();

export type UserClaims = z.infer<typeof userClaimsSchema>;

/** The claims of each scope (OpenID Connect Core §5.4); read by the engine. */
export const CLAIMS_BY_SCOPE: Readonly<Record<string, readonly string[]>> = {
  openid: ['sub'],
  profile: [
    'birthdate',
    'family_name',
    'gender',
    'given_name',
    'locale',
    'middle_name',
    'name',
    'nickname',
    'picture',
    'preferred_username',
    'profile',
    'updated_at',
    'website',
    'zoneinfo',
  ],
  email: ['email', 'email_verified'],
  address: ['address'],
  phone: ['phone_number', 'phone_number_verified'],
};

/** All claims of a user as the engine wants them, which picks by scope. A copy: users are cached, and the engine merges claims. */
export function standardClaims(
  user: Pick<User, 'id' | 'username' | 'email' | 'claims' | 'updatedAt'>,
): Record<string, unknown> & { sub: string } {
  return {
    preferred_username: user.username,
    ...structuredClone(user.claims),
    ...(user.email === undefined ? {} : { email: user.email, email_verified: user.claims.email_verified ?? false }),
    updated_at: Math.floor(user.updatedAt.getTime() / 1000),
    sub: user.id,
  };
}
