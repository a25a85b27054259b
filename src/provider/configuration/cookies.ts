// The engine's cookies: signed, not readable by scripts, and not to be set by a sibling domain.

import type { Configuration } from 'oidc-provider';

export function sessionCookie(issuer: string): string {
  return issuer.startsWith('https:') ? '__Host-lanyard_session' : 'lanyard_session';
}

/** Configuration `cookies`. */
export function cookies(issuer: string, keys: readonly string[]): NonNullable<Configuration['cookies']> {
  const isHttps = issuer.startsWith('https:');
  const common = { httpOnly: true, sameSite: 'lax', signed: true, secure: isHttps } as const;
  return {
    keys: [...keys],
    long: common,
    short: common,
    // RFC 6265bis §4.1.3: the prefixes keep a sibling domain from setting a cookie. `__Host-` needs
    // path /, which the interaction cookies do not have.
    names: {
      session: sessionCookie(issuer),
      interaction: isHttps ? '__Secure-lanyard_interaction' : 'lanyard_interaction',
      resume: isHttps ? '__Secure-lanyard_resume' : 'lanyard_resume',
    },
  };
}
