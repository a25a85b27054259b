// Contradictions in client metadata that the engine's schema does not refuse.

import { isDeepStrictEqual } from 'node:util';
import { AppError, type FaultyMember } from '../errors.ts';
import { certificateFaults } from './certificate-rules.ts';
import { CERTIFICATE_AUTH_METHODS, CLIENT_AUTH_METHODS, type ClientMetadata } from './client.ts';
import { keyFaults } from './key-rules.ts';
import { profileFaults } from './security-profile.ts';

/**
 * @param before what is replaced: keys that were accepted by former rules stay while they are not changed
 * @throws AppError `validation_failed`
 */
export function assertSensible(metadata: ClientMetadata, before?: ClientMetadata): void {
  const newKeys = isDeepStrictEqual(metadata.jwks, before?.jwks) ? [] : (metadata.jwks?.keys ?? []);
  const faults = [
    ...methodFaults(metadata),
    ...profileFaults(metadata),
    ...certificateFaults(metadata),
    ...keyFaults(newKeys),
  ];
  if (metadata.token_endpoint_auth_method === 'none') {
    if (metadata.grant_types?.includes('client_credentials')) {
      // RFC 6749 §4.4: the client credentials grant MUST only be used by confidential clients.
      faults.push({ pointer: '/grant_types', detail: 'a public client cannot use client_credentials' });
    }
    if (metadata.grant_types?.includes('urn:ietf:params:oauth:grant-type:token-exchange')) {
      faults.push({ pointer: '/grant_types', detail: 'a public client cannot exchange tokens' });
    }
    if (metadata.require_pkce === false) {
      faults.push({ pointer: '/require_pkce', detail: 'a public client must use PKCE (RFC 9700 §2.1.1)' });
    }
  }
  const logoutUri = URL.parse(metadata.backchannel_logout_uri ?? '');
  // Back-Channel Logout §2.2: an attacker on the network path could read or suppress the logout
  // token.
  if (logoutUri?.protocol === 'http:' && !isLoopback(logoutUri)) {
    faults.push({ pointer: '/backchannel_logout_uri', detail: 'must be https, unless the host is loopback' });
  }
  // §2.2: it MUST NOT include a fragment component. URLs with credentials are never called
  // (outbound/).
  if (logoutUri?.href.includes('#')) {
    faults.push({ pointer: '/backchannel_logout_uri', detail: 'must not contain a fragment' });
  }
  if (logoutUri && logoutUri.username + logoutUri.password !== '') {
    faults.push({ pointer: '/backchannel_logout_uri', detail: 'must not contain credentials' });
  }
  for (const member of ['redirect_uris', 'post_logout_redirect_uris'] as const) {
    for (const [index, uri] of (metadata[member] ?? []).entries()) {
      const detail = whyUnsafe(uri);
      if (detail !== undefined) faults.push({ pointer: `/${member}/${index}`, detail });
    }
  }
  if (faults.length > 0) throw new AppError('validation_failed', faults.map((f) => f.detail).join('; '), { faults });
}

const AUTH_METHODS: readonly string[] = [...CLIENT_AUTH_METHODS, ...CERTIFICATE_AUTH_METHODS];

/** The engine would name what the method needs, such as a client_secret, and not that there is no such method here. */
function methodFaults({ token_endpoint_auth_method: method }: ClientMetadata): FaultyMember[] {
  if (method === undefined || AUTH_METHODS.includes(method)) return [];
  const detail = `token_endpoint_auth_method ${method} is not offered: use one of ${AUTH_METHODS.join(', ')}`;
  return [{ pointer: '/token_endpoint_auth_method', detail }];
}

/** The address, what the document must list, and what that depends on: without `code`, no redirect URI. */
const SECTOR_MEMBERS = [
  ...(['sector_identifier_uri', 'redirect_uris', 'jwks_uri'] as const),
  ...(['grant_types', 'response_types', 'subject_type'] as const),
];

/** Whether the document at the `sector_identifier_uri` must be read (OpenID Connect Registration §5). */
export function changesSector(metadata: ClientMetadata, before: ClientMetadata = {}): boolean {
  if (metadata.sector_identifier_uri === undefined) return false;
  return SECTOR_MEMBERS.some((member) => !isDeepStrictEqual(metadata[member], before[member]));
}

const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);
const SCRIPT_SCHEMES = new Set(['javascript:', 'data:', 'vbscript:', 'blob:', 'file:', 'about:']);

/** The user's own machine. */
export function isLoopback({ hostname }: URL): boolean {
  return LOOPBACK_HOSTS.has(hostname);
}

function whyUnsafe(uri: string): string | undefined {
  const url = URL.parse(uri);
  // The engine's schema refuses it.
  if (url === null) return undefined;
  // RFC 9700 §2.6: the response must not be sent unencrypted, except on the user's machine.
  if (url.protocol === 'http:' && !isLoopback(url)) return 'must be https, unless the host is loopback';
  if (SCRIPT_SCHEMES.has(url.protocol)) return `must not use the scheme ${url.protocol}`;
  return undefined;
}
