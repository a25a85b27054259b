// Clients, users and resource servers of the measurements, the same for every server under test.

export const OPAQUE_API = 'https://opaque.example';
export const JWT_API = 'https://jwt.example';
export const SCOPE = 'read';
export const REDIRECT_URI = 'https://app.example/callback';
export const PASSWORD = 'correct horse battery';

export interface ClientLogin {
  readonly clientId: string;
  /** '' for a public client */
  readonly clientSecret: string;
}

export interface Fixtures {
  /** uses client_credentials, may call both resource servers */
  readonly service: ClientLogin;
  /** introspects for both resource servers */
  readonly api: ClientLogin;
  /** public, signs users in: its refresh tokens rotate */
  readonly app: ClientLogin;
  /** confidential, signs users in: introspects its own refresh tokens */
  readonly web: ClientLogin;
}

/** What the figures so far were measured with; RS256, the default, costs more CPU. */
const ES256 = { id_token_signed_response_alg: 'ES256' } as const;

/** RFC 7591 metadata by role, for both servers. */
export const METADATA = {
  service: { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
  api: { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] },
  app: {
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: [REDIRECT_URI],
    token_endpoint_auth_method: 'none',
    ...ES256,
  },
  web: { grant_types: ['authorization_code', 'refresh_token'], redirect_uris: [REDIRECT_URI], ...ES256 },
} as const satisfies Record<keyof Fixtures, object>;

/** Each login loop has its own user, because the login throttle counts per account. */
export function username(index: number): string {
  return `user-${index}`;
}
