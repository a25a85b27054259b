// Mutual TLS (RFC 8705): the certificate that a client has proven to own with its connection. There are two ways in: our own TLS
// listener, and a header of a proxy that terminates TLS in front of us. The header counts only when one of LANYARD_TRUST_PROXY
// sent it; in the hand of anybody else it would make everybody everybody.

import { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import { readCertificateHeader } from '../../guard/proof-of-possession/certificate-header.ts';
import type { ClientCertificate, ReadClientCertificate } from './mutual-tls.ts';

export interface ClientCertificateOptions {
  /** where the proxy puts the certificate; undefined: nowhere */
  readonly header: string | undefined;
  /** whether a peer is a proxy of ours */
  readonly isTrusted: (address: string) => boolean;
}

/** Beside the certificate, what the proxy found when it checked it against its authorities (nginx: `$ssl_client_verify`). */
const VERIFIED_SUFFIX = '-verify';
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
