// The device flow from a browser without a session. Its first page is shown without one: only a code
// that somebody has typed in is worth a row. The form of that page, and forms of a browser whose
// cookies were removed, lead to the address that carries the code (RFC 8628 §3.3.1), where the
// engine makes the session. It would show the form again and then fail to save the session that it
// has made for it, which is a 500.

import type { Context, Middleware } from 'koa';
import { asEngineContext } from '../engine-internals.ts';
import { readFormBody } from './form-body.ts';
import type { Pages } from './pages.ts';

export interface LostSessionOptions {
  /** where a user code is typed in; below it the browser comes back from the login page */
  readonly path: string;
  readonly sessionCookie: string;
  readonly pages: Pick<Pages, 'renderUserCode'>;
}

export function restartWithoutSession({ path, sessionCookie, pages }: LostSessionOptions): Middleware {
  const hasSession = (ctx: Context) => ctx.cookies.get(sessionCookie, { signed: true }) !== undefined;

  return async (ctx, next) => {
    if (ctx.path === path && ctx.method === 'POST') {
      const form = new URLSearchParams(await readFormBody(ctx.req));
      // The page that was shown without a session has no such value.
      if (hasSession(ctx) && form.get('xsrf') !== '') return next();
      return restart(ctx, path, form.get('user_code'));
    }
    if (ctx.path.startsWith(`${path}/`) && !hasSession(ctx)) return restart(ctx, path, null);
    if (ctx.path !== path || ctx.query.user_code || hasSession(ctx)) return next();
    if (ctx.method !== 'GET' && ctx.method !== 'HEAD') return next();
    await pages.renderUserCode(asEngineContext(ctx), { action: path, xsrf: '', problem: undefined });
  };
}

function restart(ctx: Context, path: string, userCode: string | null): void {
  ctx.set('Cache-Control', 'no-store');
  ctx.status = 303;
  ctx.redirect(userCode ? `${path}?${new URLSearchParams({ user_code: userCode })}` : path);
}
