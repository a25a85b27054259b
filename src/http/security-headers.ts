// The headers that every answer carries. Pages add their own Content-Security-Policy, which names the one place that their
// form may lead to.

import type { Context, Middleware } from 'koa';
import helmet from 'koa-helmet';

export type Header = readonly [name: string, value: string];

/** They are the same at every request: what helmet sets is asked for once. */
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
      // The page address holds the id of a running login; nobody else needs to see where a visitor came from.
      referrerPolicy: { policy: 'no-referrer' },
      strictTransportSecurity: options.isHttps ? { maxAge: 31_536_000, includeSubDomains: false } : false,
      // Discovery, JWKS and token answers are read by scripts of other origins; CORS says which.
      crossOriginResourcePolicy: false,
      // RFC 9700 §4.2.4: no page of ours may be framed.
      frameguard: { action: 'deny' },
    }) as Middleware,
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
