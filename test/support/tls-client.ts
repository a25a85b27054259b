// A client that presents a certificate, as raw requests: what it sends is exactly what the test
// says.

import { type RequestOptions, request } from 'node:https';
import type { Answer } from './admin.ts';
import type { Certificate } from './certificates.ts';

export interface TlsRequest {
  readonly origin: string;
  /** of the server */
  readonly ca: string;
  readonly certificate?: Pick<Certificate, 'cert' | 'key'> | undefined;
  readonly method?: string;
  readonly path: string;
  readonly form?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export async function sendOverTls(options: TlsRequest): Promise<Answer> {
  const { origin, ca, certificate, path, form, headers = {} } = options;
  const url = new URL(path, origin);
  const tls: RequestOptions = {
    ca,
    agent: false,
    // The name of the server, whatever a test sends as Host.
    servername: url.hostname,
    ...(certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key }),
  };
  return new Promise((resolve, reject) => {
    const method = options.method ?? (form === undefined ? 'GET' : 'POST');
    const contentType = form === undefined ? {} : { 'content-type': 'application/x-www-form-urlencoded' };
    const sent = request(url, { ...tls, method, headers: { ...contentType, ...headers } }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      const text = Buffer.concat(chunks).toString();
      const body = text.startsWith('{') ? JSON.parse(text) : { text };
      const pairs = Object.entries(response.headersDistinct).flatMap(([name, values]) =>
        (values ?? []).map((value): [string, string] => [name, value]),
      );
      resolve({ status: response.statusCode as number, headers: new Headers(pairs), body });
    });
    sent.on('error', reject);
    sent.end(form === undefined ? undefined : new URLSearchParams(form).toString());
  });
}
