// A client: an application that may ask for tokens. Its metadata keep the names of RFC 7591 in
// requests, rows and the engine.

import { z } from 'zod';
import { shownText } from '../input/shown-text.ts';
import { MAX_KEYS, withKnownMembers } from './key-rules.ts';
import { profileDefaults, SECURITY_PROFILES } from './security-profile.ts';

/** OpenID Connect Core §3.1.2.1, §5.4, §11 */
export const OPENID_SCOPES: readonly string[] = ['openid', 'offline_access', 'profile', 'email', 'address', 'phone'];

/** Those that need nothing but this server. client_secret_jwt is none of them: secrets are stored as hashes. */
export const CLIENT_AUTH_METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'] as const;
/** RFC 8705 §2, where clients can present certificates */
export const CERTIFICATE_AUTH_METHODS = ['tls_client_auth', 'self_signed_tls_client_auth'] as const;

export interface Client {
  readonly clientId: string;
  readonly metadata: ClientMetadata;
  /** `admin`, `token:<id of the initial access token>`, `open` or `metadata_document` */
  readonly registeredBy: string;
  readonly isDisabled: boolean;
  readonly version: number;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

const uri = z.string('must be text').min(1, 'must not be empty').max(2048, 'must have 2048 characters at most');
const word = z.string('must be text').min(1, 'must not be empty').max(100, 'must have 100 characters at most');
const flag = z.boolean('must be true or false');
const list = (item: z.ZodType<string>, most: number) =>
  z.array(item, 'must be a list').max(most, `must have ${most} entries at most`);

/** Values of `id_token_claims`. */
const ID_TOKEN_CLAIMS = ['scopes'] as const;

const IN_PROFILE = 'With a security_profile the default is ES256';

/** Shapes and sizes only: the engine's schema checks the values (assertLoadable). */
const metadataFields = {
  client_name: shownText(200),
  application_type: word.meta({
    description: 'web or native; if left out: native if a redirect URI has a private scheme, else web',
  }),
  redirect_uris: list(uri, 100),
  post_logout_redirect_uris: list(uri, 100),
  grant_types: list(word, 20).meta({ description: 'authorization_code (default), refresh_token, client_credentials' }),
  response_types: list(word, 10).meta({ description: 'code, or none without the authorization_code grant' }),
  token_endpoint_auth_method: word.meta({
    description:
      'client_secret_basic (default), client_secret_post, private_key_jwt, tls_client_auth, self_signed_tls_client_auth or none (public client)',
  }),
  token_endpoint_auth_signing_alg: word,
  jwks: z
    .looseObject({ keys: z.array(z.looseObject({ kty: word })).max(MAX_KEYS, `must have ${MAX_KEYS} entries at most`) })
    .meta({ description: 'public keys only; of several, each with kid. RSA: 2,048 to 4,096 bits' }),
  jwks_uri: uri,
  scope: z.string('must be text').max(1000, 'must have 1000 characters at most').meta({
    description: 'the OpenID Connect scopes it may ask for, separated by spaces; all if left out',
  }),
  id_token_signed_response_alg: word.meta({ description: `RS256 (default) or ES256. ${IN_PROFILE}` }),
  userinfo_signed_response_alg: word.meta({ description: 'userinfo is signed, with this algorithm; JSON if left out' }),
  id_token_claims: z.enum(ID_TOKEN_CLAIMS, `must be ${ID_TOKEN_CLAIMS.join(' or ')}`).meta({
    description:
      'Lanyard. scopes: ID tokens carry the claims of the scopes that were granted, for libraries that do not ask userinfo. Left out: they are at userinfo only',
  }),
  default_max_age: z.int('must be a whole number').nonnegative(),
  require_auth_time: flag,
  initiate_login_uri: uri,
  contacts: list(word, 20),
  client_uri: uri,
  logo_uri: uri,
  policy_uri: uri,
  tos_uri: uri,
  subject_type: word.meta({ description: 'public (default) or pairwise: another subject for each sector' }),
  sector_identifier_uri: uri,
  default_acr_values: list(word, 10),
  response_modes: list(word, 10).meta({ description: 'the response modes it may ask for; all of them if left out' }),
  dpop_bound_access_tokens: flag.meta({
    description: 'every token is bound to a DPoP key (RFC 9449); false if left out',
  }),
  require_pushed_authorization_requests: flag,
  require_signed_request_object: flag,
  request_object_signing_alg: word,
  authorization_signed_response_alg: word.meta({ description: `For JARM: RS256 (default) or ES256. ${IN_PROFILE}` }),
  introspection_signed_response_alg: word.meta({ description: `RFC 9701: RS256 (default) or ES256. ${IN_PROFILE}` }),
  authorization_details_types: list(word, 20).meta({
    description: 'the types of RFC 9396 it may use, as resource servers declare them; none if left out',
  }),
  security_profile: z.enum(SECURITY_PROFILES, `must be ${SECURITY_PROFILES.join(' or ')}`).meta({
    description: 'Lanyard. The server enforces all requirements of this profile for clients',
  }),
  refresh_token_grace_seconds: z
    .int('must be a whole number')
    .min(0, 'must be 0 or more')
    .max(60, 'must be 60 at most')
    .meta({
      description:
        'Lanyard. For how long after its rotation a second use of a refresh token is no replay, which would revoke its token family (default 10)',
    }),
  refresh_token_reuse_in_grace: flag.meta({
    description:
      'Lanyard. A public client without a key gets tokens too when it uses a refresh token again within the grace; a thief would as well (false if left out)',
  }),
  require_issuer_audience: flag.meta({
    description:
      'Lanyard. The audience of its assertions must be the issuer, as a string (RFC 7523bis); false if left out: the token endpoint is taken too',
  }),
  dpop_require_nonce: flag.meta({
    description: 'Lanyard. Its DPoP proofs must carry a nonce of this server (RFC 9449 §8); false if left out',
  }),
  tls_client_certificate_bound_access_tokens: flag.meta({
    description: 'every token is bound to the certificate of the client (RFC 8705); false if left out',
  }),
  tls_client_auth_subject_dn: uri.meta({
    description: 'RFC 4514; tls_client_auth needs exactly one of this member and the next four',
  }),
  tls_client_auth_san_dns: uri,
  tls_client_auth_san_uri: uri,
  tls_client_auth_san_ip: uri,
  tls_client_auth_san_email: uri,
  backchannel_logout_uri: uri.meta({ description: 'where the client is notified that a session has ended' }),
  backchannel_logout_session_required: flag.meta({ description: 'the logout token must name the session (sid)' }),
  revoke_tokens_on_logout: flag.meta({
    description:
      'Lanyard. Its tokens end with the session of the user, those with offline_access too; false if left out',
  }),
  require_pkce: flag.meta({
    description:
      'Lanyard. Whether a confidential client must use PKCE. If left out: a code_challenge, or a nonce with openid in scope; of a client that registered itself: true. Always true of public clients and with a security_profile',
  }),
};

export const clientMetadataSchema = z.strictObject(metadataFields).partial();

/** A PATCH as in RFC 7396: null removes a member. */
export const clientPatchSchema = z.strictObject(
  Object.fromEntries(Object.entries(metadataFields).map(([name, field]) => [name, field.nullable().optional()])) as {
    [Name in keyof typeof metadataFields]: z.ZodOptional<z.ZodNullable<(typeof metadataFields)[Name]>>;
  },
);

export type ClientMetadata = Readonly<z.infer<typeof clientMetadataSchema>>;
export type ClientPatch = z.infer<typeof clientPatchSchema>;

/**
 * What this server signs its answers to a client with: the defaults of OpenID Connect Registration
 * §2, JARM §3 and RFC 9701 §6, which client libraries expect.
 */
export const DEFAULT_SIGNING_ALGORITHMS = {
  id_token_signed_response_alg: 'RS256',
  authorization_signed_response_alg: 'RS256',
  introspection_signed_response_alg: 'RS256',
} as const satisfies ClientMetadata;

/**
 * RFC 7591 §2 with our defaults filled in: a new default does not change registered clients.
 * @param isSelfRegistered without an operator
 */
export function withDefaults(input: ClientMetadata, isSelfRegistered: boolean): ClientMetadata {
  const metadata = { ...DEFAULT_SIGNING_ALGORITHMS, ...profileDefaults(input), ...input };
  const grantTypes = metadata.grant_types ?? ['authorization_code'];
  const mustUsePkce = isSelfRegistered || metadata.token_endpoint_auth_method === 'none';
  return {
    ...metadata,
    ...(metadata.jwks === undefined ? {} : { jwks: { keys: withKnownMembers(metadata.jwks.keys) } }),
    application_type: metadata.application_type ?? (metadata.redirect_uris?.some(hasPrivateScheme) ? 'native' : 'web'),
    grant_types: grantTypes,
    response_types: metadata.response_types ?? (grantTypes.includes('authorization_code') ? ['code'] : []),
    redirect_uris: metadata.redirect_uris ?? [],
    token_endpoint_auth_method: metadata.token_endpoint_auth_method ?? 'client_secret_basic',
    // RFC 9700 §2.1.1: PKCE for public clients is a MUST. Confidential ones without this member may use a
    // nonce instead (provider/configuration/pkce.ts).
    ...(mustUsePkce ? { require_pkce: metadata.require_pkce ?? true } : {}),
  };
}

/** RFC 8252 §7.1: of an app on the device. */
function hasPrivateScheme(uri: string): boolean {
  return !['http:', 'https:'].includes(URL.parse(uri)?.protocol ?? 'http:');
}

export function applyPatch(metadata: ClientMetadata, patch: ClientPatch): ClientMetadata {
  const merged: Record<string, unknown> = { ...metadata };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else if (value !== undefined) merged[name] = value;
  }
  return merged;
}

export function authenticatesWithSecret(metadata: ClientMetadata): boolean {
  return ['client_secret_basic', 'client_secret_post'].includes(
    metadata.token_endpoint_auth_method ?? 'client_secret_basic',
  );
}

/** `registeredBy` of a client with a client ID metadata document. */
export const METADATA_DOCUMENT = 'metadata_document';
/** `registered_by` of a client that anyone may have registered (RFC 7591 §3, open registration). */
export const OPEN_REGISTRATION = 'open';

export function isOfDocument({ registeredBy }: { readonly registeredBy: string }): boolean {
  return registeredBy === METADATA_DOCUMENT;
}

/** Registered without an operator's leave: what it authenticates with says nothing about who it is. */
export function isStranger({ registeredBy }: { readonly registeredBy: string }): boolean {
  return registeredBy === OPEN_REGISTRATION || registeredBy === METADATA_DOCUMENT;
}

/** Registered without an operator. */
export function isSelfRegistered({ registeredBy }: { readonly registeredBy: string }): boolean {
  return registeredBy !== 'admin';
}
