// The security headers of every answer. Pages set their own Content-Security-Policy.

import type { Context, Middleware } from 'koa';
import helmet from 'koa-helmet';

export type Header = readonly [name: string, value: string];

/** What helmet sets is the same for every request, so it is called once. */
export async function securityHeaders(options: { isHttps: boolean }): Promise<readonly Header[]> {
  return headersOf(
    helmet({
      contentSecurityPolicy: {
        useDefaults: false,
        directives: {
          defaultSrc: ["'none'"],
          scriptSrc: ["'none'"],
          frameAncestors: ["'none'"],
          baseUri: ["'none'"],
          formAction: ["'none'"],
        },
      },
      // The URL of a page contains the id of an interaction, which must not be sent to other sites.
      referrerPolicy: { policy: 'no-referrer' },
      strictTransportSecurity: options.isHttps ? { maxAge: 31_536_000, includeSubDomains: false } : false,
      // Scripts of other origins read discovery, JWKS and token answers, as far as CORS allows.
      crossOriginResourcePolicy: false,
      // RFC 9700 §4.16: clickjacking
      frameguard: { action: 'deny' },
    }),
  );
}

async function headersOf(middleware: Middleware): Promise<Header[]> {
  const headers: Header[] = [];
  const res = {
    setHeader: (name: string, value: string) => void headers.push([name, value]),
    removeHeader: () => {},
  };
  await middleware({ req: {}, res, request: {}, response: res } as unknown as Context, async () => {});
  return headers;
}
