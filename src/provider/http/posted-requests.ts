// Authorization and logout requests by POST: OpenID Connect Core §3.1.2.1 and RP-Initiated Logout
// §2 want them supported beside GET. The form comes from the site of the app, so that the browser
// does not send our cookies (SameSite=Lax), and a user who is signed in would have to sign in
// again. The browser is redirected to the same address by GET, where it sends them.

import type { Middleware } from 'koa';
import { asEngineContext } from '../engine-internals.ts';
import { isForm, readFormBody } from './form-body.ts';
import type { Pages } from './pages.ts';

/** What common proxies accept of a request line (nginx: `large_client_header_buffers`). */
const MAX_QUERY_CHARACTERS = 8_000;

/** @param deps.parameters of each path, by name */
export function postedRequests(deps: {
  parameters: Readonly<Record<string, ReadonlySet<string>>>;
  pages: Pick<Pages, 'renderError'>;
}): Middleware {
  return async (ctx, next) => {
    const known = Object.hasOwn(deps.parameters, ctx.path) ? deps.parameters[ctx.path] : undefined;
    if (ctx.method !== 'POST' || known === undefined) return next();
    const form = isForm(ctx.req) ? await readFormBody(ctx.req) : undefined;
    const query = form === undefined ? undefined : pick(`${ctx.querystring}&${form}`, known);
    if (query !== undefined && query.length <= MAX_QUERY_CHARACTERS) {
      ctx.set('Cache-Control', 'no-store');
      // Not 307, which would send the form on (RFC 9700 §4.12).
      ctx.status = 303;
      ctx.redirect(`${ctx.path}?${query}`);
      return;
    }
    const isTooLong = query !== undefined;
    ctx.status = isTooLong ? 413 : 400;
    const error_description = isTooLong
      ? 'the request is too long; push it (RFC 9126)'
      : 'the request must be a form (application/x-www-form-urlencoded)';
    const out = { error: 'invalid_request', error_description };
    await deps.pages.renderError(asEngineContext(ctx), out, new Error(error_description));
  };
}

/** A parameter that occurs twice occurs twice afterwards too, and is refused by the engine. */
function pick(parameters: string, known: ReadonlySet<string>): string {
  return new URLSearchParams([...new URLSearchParams(parameters)].filter(([name]) => known.has(name))).toString();
}
