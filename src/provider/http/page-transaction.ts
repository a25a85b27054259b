// The engine's pages: sign-in, logout, the device flow. What one request of theirs writes (code,
// session, grant, audit event) is several steps of the engine; it is committed in one transaction
// before the answer is sent. Whatever fails, the answer is an error page, without the redirect and
// the cookies that the steps before had set: no code and no session that was not stored leaves.

import type { Context, Middleware } from 'koa';
import { errors } from 'oidc-provider';
import { unavailabilityIn } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { asEngineContext } from '../engine-internals.ts';
import { isPagePath, ROUTES } from '../routes.ts';
import type { Pages } from './pages.ts';
import { UNAVAILABLE } from './unavailable.ts';

const LOGOUT = new RegExp(`^${ROUTES.end_session}/`, 'i');

const STILL_SIGNED_IN = 'You are still signed in. Try again.';
const NOTHING_STORED = 'Nothing was stored. Try again.';

export interface PageTransactionDeps {
  /** of the unit of work */
  readonly collect: (requestId: string, work: () => Promise<void>) => Promise<{ commit(): Promise<unknown> }>;
  readonly pages: Pick<Pages, 'renderError'>;
  readonly log: Log;
}

export function pageTransaction(deps: PageTransactionDeps): Middleware {
  const { collect } = deps;
  return async (ctx, next) => {
    if (!isPagePath(ctx.path)) return next();
    try {
      const { commit } = await collect(ctx.get('x-request-id'), next);
      if (ctx.status < 500) await commit();
      if (ctx.status >= 500) withdraw(ctx);
    } catch (error) {
      withdraw(ctx);
      await showFailure(deps, ctx, error as Error);
    }
  };
}

/** The browser keeps the cookie that it has: its session is as it was. */
function withdraw(ctx: Context): void {
  ctx.remove('Location');
  ctx.remove('Set-Cookie');
}

/** What the engine's own error handlers do not see. */
async function showFailure({ pages, log }: PageTransactionDeps, ctx: Context, error: Error): Promise<void> {
  const refusal = error instanceof errors.OIDCProviderError ? error : undefined;
  const unavailable = unavailabilityIn(error);
  ctx.status = refusal?.statusCode ?? unavailable?.status ?? 500;
  const { retryAfterSeconds } = unavailable ?? {};
  if (retryAfterSeconds !== undefined) ctx.set('Retry-After', String(retryAfterSeconds));
  const nothingStored = LOGOUT.test(ctx.path) ? STILL_SIGNED_IN : NOTHING_STORED;
  const out = {
    error: refusal?.error ?? (unavailable === undefined ? 'server_error' : UNAVAILABLE),
    error_description: refusal?.error_description ?? unavailable?.detail ?? nothingStored,
  };
  if (ctx.status < 500) {
    log.info({ request_id: ctx.get('x-request-id'), oauth_error: out.error, reason: out.error_description }, 'refused');
  }
  await pages.renderError(asEngineContext(ctx), out, error);
}
