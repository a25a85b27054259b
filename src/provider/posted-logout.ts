// RP-Initiated Logout §2: the logout endpoint answers GET and POST. The cookie of the session does not come along with a form of
// another site (SameSite=Lax keeps the forms of strangers without power), so a form is led to the same request by GET, to which
// the browser does bring the cookie.

import type { Middleware } from 'koa';
import { isForm, readFormBody } from './form-body.ts';

const PARAMETERS = new Set([
  'id_token_hint',
  'post_logout_redirect_uri',
  'state',
  'ui_locales',
  'client_id',
  'logout_hint',
]);
/** Node reads a request head of 16 KB, cookies included. */
const MAX_QUERY_LENGTH = 8_000;

export function postedLogout(path: string): Middleware {
  return async (ctx, next) => {
    if (ctx.path !== path || !isForm(ctx.req)) return next();
    const body = await readFormBody(ctx.req);
    // A parameter that comes twice stays so: the engine refuses that.
    const known = [...new URLSearchParams(body)].filter(([name]) => PARAMETERS.has(name));
    const query = new URLSearchParams(known).toString();
    if (body === undefined || query.length > MAX_QUERY_LENGTH) {
      ctx.status = 413;
      ctx.body = { error: 'invalid_request', error_description: 'the request is too large' };
      return;
    }
    ctx.set('Cache-Control', 'no-store');
    ctx.status = 303;
    ctx.redirect(`${path}?${query}`);
  };
}
