// The engine sometimes answers with a page that submits a form by itself (logout without a session, a change of user in the
// middle of a login, response_mode=form_post). It adds the hash of its script to our Content-Security-Policy; where the form may
// lead is added here, for the form itself and for the redirect that follows it.

import type { Middleware } from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';

export function formPostPages(): Middleware {
  return async (ctx, next) => {
    await next();
    if (typeof ctx.body !== 'string' || !ctx.response.is('html')) return;
    const action = /<form method="post" action="([^"]+)">/.exec(ctx.body)?.[1];
    if (action === undefined) return;
    const afterwards = (ctx as unknown as KoaContextWithOIDC).oidc.session?.state?.postLogoutRedirectUri;
    const targets = [action.replaceAll('&amp;', '&'), afterwards].flatMap((uri) => cspSource(uri) ?? []);
    const policy = ctx.response.get('content-security-policy');
    ctx.set('content-security-policy', policy.replace("form-action 'none'", `form-action ${targets.join(' ')}`));
  };
}

/**
 * Where a form may lead, as a source of CSP `form-action`, which browsers check along the redirects as well.
 * A private-use scheme (RFC 8252 §7.1) and an IPv6 host, for which CSP has no syntax, are named by their scheme.
 */
export function cspSource(uri: unknown): string | undefined {
  const url = typeof uri === 'string' ? URL.parse(uri) : null;
  if (url === null) return undefined;
  const isWeb = url.protocol === 'http:' || url.protocol === 'https:';
  return isWeb && !url.hostname.startsWith('[') ? url.origin : url.protocol;
}
