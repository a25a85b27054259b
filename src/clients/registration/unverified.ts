// What software may say of itself that nobody here has looked at, whether it registers itself (RFC 7591) or describes itself at its
// address (client ID metadata documents). It is judged by the same rules as what an operator registers (rules.ts), and by these.

import { AppError, type FaultyMember } from '../../errors.ts';
import { type ClientMetadata, clientMetadataSchema, OPENID_SCOPES, withDefaults } from '../client.ts';

/** What an initial access token lets software say; a member that is missing allows what everybody may. */
export interface AllowedRegistration {
  readonly grant_types?: readonly string[] | undefined;
  /** of redirect URIs, those after a logout included */
  readonly redirect_hosts?: readonly string[] | undefined;
}

/** What software may be without an operator. The grants with which it acts for itself are not among them. */
const GRANT_TYPES = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];

/** Members that make a client weaker, concern operators, or would have this server fetch something for a stranger. */
export const OPERATORS_MEMBERS: readonly string[] = [
  'authorization_details_types',
  'refresh_token_grace_seconds',
  'sector_identifier_uri',
];

/** Characters that turn around or hide what stands beside them: a name is read by whoever has to decide about it. */
const DECEPTIVE = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u;

/**
 * RFC 7591 §2: "The authorization server MUST ignore any client metadata sent by the client that it does not understand".
 * @throws AppError `validation_failed`
 */
export function parseUnverified(document: Readonly<Record<string, unknown>>): ClientMetadata {
  const known = Object.keys(clientMetadataSchema.shape).filter((name) => !OPERATORS_MEMBERS.includes(name));
  const understood = Object.fromEntries(
    known
      .filter((name) => document[name] !== undefined && document[name] !== null)
      .map((name) => [name, document[name]]),
  );
  const parsed = clientMetadataSchema.safeParse({ ...understood, ...parseScope(document.scope) });
  if (!parsed.success) {
    const faults = parsed.error.issues.map(({ path, message }) => ({ pointer: `/${path.join('/')}`, detail: message }));
    const detail = faults.map((fault) => `${fault.pointer} ${fault.detail}`).join('; ');
    throw new AppError('validation_failed', detail, { faults });
  }
  return withDefaults(parsed.data as ClientMetadata);
}

/** Apps name the scopes of APIs here too. Those are for the resource servers to grant; what is left is what this means to us. */
function parseScope(scope: unknown): { scope?: unknown } {
  if (typeof scope !== 'string') return scope === undefined || scope === null ? {} : { scope };
  const own = scope.split(' ').filter((name) => OPENID_SCOPES.includes(name));
  return { scope: own.length === 0 ? undefined : own.join(' ') };
}

/** @throws AppError `validation_failed` */
export function assertAllowed(metadata: ClientMetadata, allowed: AllowedRegistration): void {
  const grantTypes = allowed.grant_types ?? GRANT_TYPES;
  const faults: FaultyMember[] = (metadata.grant_types ?? [])
    .filter((name) => !grantTypes.includes(name))
    .map((name) => ({ pointer: '/grant_types', detail: `${name} is not for software that registers itself` }));
  // RFC 9700 §2.1.1
  if (metadata.require_pkce === false) faults.push({ pointer: '/require_pkce', detail: 'must not be false' });
  if (DECEPTIVE.test(metadata.client_name ?? '')) {
    faults.push({ pointer: '/client_name', detail: 'the name must not turn text around or break lines' });
  }
  for (const member of ['redirect_uris', 'post_logout_redirect_uris'] as const) {
    for (const [index, uri] of (metadata[member] ?? []).entries()) {
      const host = URL.parse(uri)?.host ?? '';
      if (allowed.redirect_hosts !== undefined && !allowed.redirect_hosts.includes(host)) {
        faults.push({ pointer: `/${member}/${index}`, detail: `${host} is not a host that this token allows` });
      }
    }
  }
  if (faults.length > 0)
    throw new AppError('validation_failed', faults.map((each) => each.detail).join('; '), { faults });
}
