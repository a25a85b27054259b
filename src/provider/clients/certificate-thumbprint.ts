// RFC 8705 §3.1: what binds a token to a certificate.

import { createHash, type X509Certificate } from 'node:crypto';

export function certificateThumbprint(certificate: X509Certificate): string {
  return createHash('sha256').update(certificate.raw).digest('base64url');
}
