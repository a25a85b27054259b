// The headers that every answer carries. Pages add their own Content-Security-Policy, which names the one place that their
// form may lead to.

import type { Middleware } from 'koa';
import helmet from 'koa-helmet';

export function securityHeaders(options: { isHttps: boolean }): Middleware {
  return helmet({
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
  }) as Middleware;
}
