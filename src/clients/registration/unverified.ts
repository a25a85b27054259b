// What a client may register without an operator, whether dynamically (RFC 7591) or by its client
// ID metadata document. The rules for what an operator registers (metadata-rules.ts) apply too.

import { isDeepStrictEqual } from 'node:util';
import { AppError, type FaultyMember } from '../../errors.ts';
import { type ClientMetadata, clientMetadataSchema, OPENID_SCOPES, withDefaults } from '../client.ts';
import type { FindReservedWord } from './reserved-names.ts';

/** What an initial access token allows; a member that is missing sets no further limit. */
export interface AllowedRegistration {
  readonly grant_types?: readonly string[] | undefined;
  /** of redirect URIs, including those after a logout */
  readonly redirect_hosts?: readonly string[] | undefined;
}

/** Without an operator, a client gets no grant with which it acts for itself. */
const GRANT_TYPES = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];

/** Members that weaken a client, concern operators, or make this server fetch an address. A client cannot remove them. */
export const OPERATORS_MEMBERS: readonly string[] = [
  'authorization_details_types',
  'refresh_token_grace_seconds',
  'refresh_token_reuse_in_grace',
  'sector_identifier_uri',
];

/** With an initial access token, a client may set these as well. */
const WITH_TOKEN: readonly string[] = ['sector_identifier_uri'];

/** What a registration is judged by. */
export interface Origin {
  /** without an operator's leave (clients/client.ts) */
  readonly isStranger: boolean;
  /** in force: what an operator has set, or the client has now */
  readonly requirePkce: boolean;
}

/** With a metadata document, or by open registration. */
export const STRANGER: Origin = { isStranger: true, requirePkce: true };

function membersForOperators({ isStranger }: Pick<Origin, 'isStranger'>): readonly string[] {
  return isStranger ? OPERATORS_MEMBERS : OPERATORS_MEMBERS.filter((name) => !WITH_TOKEN.includes(name));
}

/**
 * RFC 7591 §2 lets a server ignore members that it does not understand. It understands these, so that
 * a client that asks for one is told that it does not get it (§3.2.2).
 * @param inForce what operators have set: a client that repeats it, as RFC 7592 §2.2 demands, asks for nothing
 * @throws AppError `validation_failed`
 */
export function assertNotForOperators(
  document: Readonly<Record<string, unknown>>,
  origin: Pick<Origin, 'isStranger'>,
  inForce: Readonly<Record<string, unknown>> = {},
): void {
  const faults: FaultyMember[] = membersForOperators(origin)
    .filter((name) => {
      const asked = document[name];
      return asked !== undefined && asked !== null && !isDeepStrictEqual(asked, inForce[name]);
    })
    .map((name) => {
      const who = WITH_TOKEN.includes(name) ? 'operators, or with an initial access token' : 'operators only';
      return { pointer: `/${name}`, detail: `${name} can be set by ${who}` };
    });
  if (faults.length > 0)
    throw new AppError('validation_failed', faults.map((each) => each.detail).join('; '), { faults });
}

/**
 * Without the members for operators.
 *
 * RFC 7591 §2: "The authorization server MUST ignore any client metadata sent by the client that it
 * does not understand".
 * @throws AppError `validation_failed`
 */
export function parseUnverified(document: Readonly<Record<string, unknown>>, origin: Origin): ClientMetadata {
  const refused = membersForOperators(origin);
  const known = Object.keys(clientMetadataSchema.shape).filter((name) => !refused.includes(name));
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
  return withDefaults(withPkce(parsed.data, origin), true);
}

/** RFC 9700 §2.1.1: a client may tighten what is in force, and not loosen it. @throws AppError `validation_failed` */
function withPkce(metadata: ClientMetadata, { requirePkce }: Origin): ClientMetadata {
  if (metadata.require_pkce === false && requirePkce) {
    const faults = [{ pointer: '/require_pkce', detail: 'require_pkce must not be false' }];
    throw new AppError('validation_failed', 'require_pkce must not be false', { faults });
  }
  const isFixed = metadata.token_endpoint_auth_method === 'none' || metadata.security_profile !== undefined;
  return isFixed ? metadata : { require_pkce: requirePkce, ...metadata };
}

/** Apps name the scopes of APIs here too. Policy grants those; OpenID Connect scopes are kept. */
function parseScope(scope: unknown): { scope?: unknown } {
  if (typeof scope !== 'string') return scope === undefined || scope === null ? {} : { scope };
  const own = scope.split(' ').filter((name) => OPENID_SCOPES.includes(name));
  return { scope: own.length === 0 ? undefined : own.join(' ') };
}

/** @throws AppError `validation_failed` */
export function assertAllowed(
  metadata: ClientMetadata,
  allowed: AllowedRegistration,
  findReservedWord: FindReservedWord,
): void {
  const grantTypes = allowed.grant_types ?? GRANT_TYPES;
  const faults: FaultyMember[] = (metadata.grant_types ?? [])
    .filter((name) => !grantTypes.includes(name))
    .map((name) => ({ pointer: '/grant_types', detail: `${name} is not allowed for dynamically registered clients` }));
  const reserved = findReservedWord(metadata.client_name ?? '');
  if (reserved !== undefined) {
    faults.push({ pointer: '/client_name', detail: `must not look like "${reserved}", which is reserved` });
  }
  for (const member of ['redirect_uris', 'post_logout_redirect_uris'] as const) {
    for (const [index, uri] of (metadata[member] ?? []).entries()) {
      const host = URL.parse(uri)?.host ?? '';
      if (allowed.redirect_hosts !== undefined && !allowed.redirect_hosts.includes(host)) {
        faults.push({
          pointer: `/${member}/${index}`,
          detail: `${host} is not a host that the initial access token allows`,
        });
      }
    }
  }
  if (faults.length > 0)
    throw new AppError('validation_failed', faults.map((each) => each.detail).join('; '), { faults });
}
