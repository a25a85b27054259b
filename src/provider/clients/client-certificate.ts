// Mutual TLS (RFC 8705): the certificate whose key a client has proven with its connection. It
// comes from our own TLS listener, or from a header of a proxy that terminates TLS in front of us.
// The header counts only when a peer of LANYARD_TRUST_PROXY has sent it: otherwise any sender could
// claim any certificate.

import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { readCertificateHeader } from '../../guard/proof-of-possession/certificate-header.ts';
import type { ClientCertificate, ReadClientCertificate } from './mutual-tls.ts';

export interface ClientCertificateOptions {
  /** in which the proxy sends the certificate; undefined: in none */
  readonly header: string | undefined;
  /** whether a peer is a trusted proxy */
  readonly isTrusted: (address: string) => boolean;
}

/**
 * The header with the result of the proxy's own check of the chain (nginx: `$ssl_client_verify`).
 */
export const VERIFIED_SUFFIX = '-verify';
const VERIFIED = 'SUCCESS';

export function clientCertificates({ header, isTrusted }: ClientCertificateOptions): ReadClientCertificate {
  function ofProxy(request: IncomingMessage): ClientCertificate | undefined {
    if (header === undefined || !isTrusted(request.socket.remoteAddress ?? '')) return undefined;
    const der = readCertificateHeader(request, header);
    if (der === undefined) return undefined;
    return {
      certificate: new X509Certificate(der),
      isFromTrustedAuthority: request.headers[`${header}${VERIFIED_SUFFIX}`] === VERIFIED,
    };
  }

  return (request) => {
    const { socket } = request;
    if (!(socket instanceof TLSSocket)) return ofProxy(request);
    const certificate = socket.getPeerX509Certificate();
    return certificate && { certificate, isFromTrustedAuthority: socket.authorized };
  };
}
