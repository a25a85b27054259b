// The engine sometimes answers with a page that submits a form by itself (a change of user in the
// middle of a login, response_mode=form_post). It is shown as a page of ours.

import type { Middleware } from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { asEngineContext, readFormPostPage } from '../engine-internals.ts';
import type { FormPostPage } from '../engine-types.ts';

export function formPostPages(show: (ctx: KoaContextWithOIDC, form: FormPostPage) => void): Middleware {
  return async (ctx, next) => {
    await next();
    const form = readFormPostPage(ctx.body);
    if (form !== undefined) show(asEngineContext(ctx), form);
  };
}
