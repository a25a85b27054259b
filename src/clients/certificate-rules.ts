// What client metadata must not say about certificates (RFC 8705 §2): a client that could never authenticate, or whose registration
// names somebody whom nothing asks for, is refused here, by the member that is wrong.

import { isIP } from 'node:net';
import type { FaultyMember } from '../errors.ts';
import type { ClientMetadata } from './client.ts';

/** RFC 8705 §2.1.2: each with what it must look like to be found in a certificate. */
const SUBJECT_MEMBERS = {
  tls_client_auth_subject_dn: (value) => /^\s*[\w.-]+\s*=/.test(value),
  tls_client_auth_san_dns: () => true,
  tls_client_auth_san_uri: (value) => URL.canParse(value),
  tls_client_auth_san_ip: (value) => isIP(value) !== 0,
  tls_client_auth_san_email: (value) => value.includes('@'),
} as const satisfies Partial<Record<keyof ClientMetadata, (value: string) => boolean>>;
const SUBJECT_NAMES = Object.keys(SUBJECT_MEMBERS) as (keyof typeof SUBJECT_MEMBERS)[];

export function certificateFaults(metadata: ClientMetadata): FaultyMember[] {
  const method = metadata.token_endpoint_auth_method;
  const faults: FaultyMember[] = [];
  const refuse = (member: keyof ClientMetadata, detail: string) => {
    faults.push({ pointer: `/${member}`, detail: `${member} ${detail}` });
  };
  const [first, ...others] = SUBJECT_NAMES.filter((member) => metadata[member] !== undefined);
  if (method !== 'tls_client_auth') {
    for (const member of first === undefined ? [] : [first, ...others]) refuse(member, 'is for tls_client_auth only');
  } else if (first === undefined) {
    refuse('token_endpoint_auth_method', `tls_client_auth needs one of ${SUBJECT_NAMES.join(', ')}`);
  } else {
    // "A client using the tls_client_auth authentication method MUST use exactly one of the below metadata parameters".
    for (const member of others) refuse(member, `contradicts ${first}: there must be exactly one`);
    if (!SUBJECT_MEMBERS[first](metadata[first] as string)) refuse(first, 'is not what its name says');
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
