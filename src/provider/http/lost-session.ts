// Forms of the device flow from a browser without the session of their page: its cookies were
// removed, or there never was a page. The engine would show the form again and then fail to save
// the session that it has made for it, which is a 500.

import type { Middleware } from 'koa';

export interface LostSessionOptions {
  /** where a user code is typed in; below it the browser comes back from the login page */
  readonly path: string;
  readonly sessionCookie: string;
}

export function restartWithoutSession({ path, sessionCookie }: LostSessionOptions): Middleware {
  return async (ctx, next) => {
    const needsSession = (ctx.path === path && ctx.method === 'POST') || ctx.path.startsWith(`${path}/`);
    if (!needsSession || ctx.cookies.get(sessionCookie, { signed: true }) !== undefined) return next();
    ctx.set('Cache-Control', 'no-store');
    ctx.status = 303;
    ctx.redirect(path);
  };
}
