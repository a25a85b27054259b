// A request without any client authentication. The engine calls it malformed (400); RFC 6749 §5.2
// calls it `invalid_client`, RFC 7662 §2.3 wants 401 for it, and RFC 9110 §15.5.2 a challenge with
// every 401.

import type { Context, Middleware } from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { asEngineContext } from '../engine-internals.ts';

export function clientChallenge(options: { issuer: string; paths: ReadonlySet<string> }): Middleware {
  return async (ctx, next) => {
    await next();
    if (ctx.method === 'POST' && options.paths.has(ctx.path)) challengeClient(ctx, options.issuer);
  };
}

/** For what the engine has answered where clients authenticate. */
export function challengeClient(ctx: Context, issuer: string): void {
  if (ctx.status === 400 && namesNoClient(asEngineContext(ctx))) {
    ctx.status = 401;
    ctx.body = { error: 'invalid_client', error_description: 'client authentication is required' };
  }
  if (ctx.status === 401 && !ctx.res.hasHeader('WWW-Authenticate')) {
    ctx.set('WWW-Authenticate', `Basic realm="${issuer}"`);
  }
}

/**
 * `params` is set once the body has been read. A client that is named is authenticated by the
 * engine. Where it has found one the fault is another: from then on `params` of a pushed or device
 * request are those of the authorization request, without an assertion.
 */
function namesNoClient(ctx: KoaContextWithOIDC): boolean {
  const params = ctx.oidc?.params;
  if (params === undefined || ctx.oidc.client !== undefined || ctx.get('authorization') !== '') return false;
  return params.client_id === undefined && params.client_secret === undefined && params.client_assertion === undefined;
}
