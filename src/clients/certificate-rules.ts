// Rules for client metadata about certificates (RFC 8705 §2): a client that could never
// authenticate, or that names a subject which its authentication method does not use, is refused
// with the faulty member.

import { isIP } from 'node:net';
import type { FaultyMember } from '../errors.ts';
import type { ClientMetadata } from './client.ts';

/** RFC 8705 §2.1.2: each member with the form of its values in a certificate. */
export const SUBJECT_MEMBERS = [
  { member: 'tls_client_auth_subject_dn', isValid: (value: string) => /^\s*[\w.-]+\s*=/.test(value) },
  { member: 'tls_client_auth_san_dns', isValid: () => true },
  { member: 'tls_client_auth_san_uri', isValid: (value: string) => URL.canParse(value) },
  { member: 'tls_client_auth_san_ip', isValid: (value: string) => isIP(value) !== 0 },
  { member: 'tls_client_auth_san_email', isValid: (value: string) => value.includes('@') },
] as const satisfies readonly { member: keyof ClientMetadata; isValid: (value: string) => boolean }[];

export function certificateFaults(metadata: ClientMetadata): FaultyMember[] {
  const method = metadata.token_endpoint_auth_method;
  const faults: FaultyMember[] = [];
  const refuse = (member: keyof ClientMetadata, detail: string) => {
    faults.push({ pointer: `/${member}`, detail: `${member} ${detail}` });
  };
  const given = SUBJECT_MEMBERS.filter(({ member }) => metadata[member] !== undefined);
  const [first, ...others] = given;
  if (method !== 'tls_client_auth') {
    for (const { member } of given) refuse(member, 'is for tls_client_auth only');
  } else if (first === undefined) {
    const names = SUBJECT_MEMBERS.map(({ member }) => member).join(', ');
    refuse('token_endpoint_auth_method', `tls_client_auth needs one of ${names}`);
  } else {
    // "A client using the tls_client_auth authentication method MUST use exactly one of the below
    // metadata parameters".
    for (const { member } of others) refuse(member, `contradicts ${first.member}: there must be exactly one`);
    if (!first.isValid(metadata[first.member] ?? '')) refuse(first.member, 'does not have the form of such a name');
  }
  // §2.2.2: "the certificate is represented by the x5c"
  const carriesCertificate = (key: Record<string, unknown>) => Array.isArray(key.x5c) || key['x5t#S256'] !== undefined;
  if (method === 'self_signed_tls_client_auth' && metadata.jwks?.keys.some(carriesCertificate) === false) {
    refuse('jwks', 'needs a key with the certificate of the client (x5c)');
  }
  if (metadata.tls_client_certificate_bound_access_tokens === true && metadata.dpop_bound_access_tokens === true) {
    refuse('tls_client_certificate_bound_access_tokens', 'contradicts dpop_bound_access_tokens: a token has one key');
  }
  return faults;
}
