// An HTTPS server on this machine that this process trusts: where software publishes documents
// about itself.

import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { makeCertificate } from './certificates.ts';

export interface DocumentHost {
  /** `localhost:<port>` */
  readonly host: string;
  close(): void;
}

export async function startDocumentHost(listener: RequestListener): Promise<DocumentHost> {
  // OpenSSL looks for an issuer by its name: two test files in one process need two names.
  const subject = [['CN', `documents ${randomUUID()}`]] as const;
  const certificate = makeCertificate({ subject, dns: ['localhost'], isAuthority: true });
  setDefaultCACertificates([...getCACertificates('default'), certificate.cert]);
  const https = createServer({ cert: certificate.cert, key: certificate.key }, listener);
  await new Promise<void>((resolve) => https.listen(0, '127.0.0.1', resolve));
  return {
    host: `localhost:${(https.address() as AddressInfo).port}`,
    close() {
      https.closeAllConnections();
      https.close();
    },
  };
}
