// The engine turns the members of a request object (RFC 9101) into text before it looks at the signature. One that has no text, which
// anybody can put into the address, would be a failure of this server in the log.

import { decodeJwt } from 'jose';
import type { Middleware } from 'koa';
import { asEngineContext } from '../engine-internals.ts';
import type { Pages } from './pages.ts';

/** Kept as JSON (OpenID Connect Core §5.5, RFC 9396 §2). */
const STRUCTURED = ['claims', 'authorization_details'];

export function readableRequestObjects(deps: { path: string; pages: Pick<Pages, 'renderError'> }): Middleware {
  return async (ctx, next) => {
    const { request } = ctx.query;
    if (ctx.path !== deps.path || typeof request !== 'string' || isReadable(request)) return next();
    ctx.status = 400;
    const error_description = 'a member of the request object has no text';
    const out = { error: 'invalid_request_object', error_description };
    await deps.pages.renderError(asEngineContext(ctx), out, new Error(error_description));
  };
}

function isReadable(requestObject: string): boolean {
  let members: [string, unknown][];
  try {
    members = Object.entries(decodeJwt(requestObject));
  } catch {
    return true; // the engine says what is wrong with it
  }
  try {
    for (const [name, value] of members) if (!STRUCTURED.includes(name)) String(value);
    return true;
  } catch {
    return false;
  }
}
