// A refusal that comes before the engine's own steps, in the form of the engine's: JSON for apps, a
// page for people.

import type { Context } from 'koa';
import type { Log } from '../../log.ts';
import type { EndpointLabel } from '../../metrics/closed-lists.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { asEngineContext } from '../engine-internals.ts';
import { isPagePath, ROUTES } from '../routes.ts';
import type { Pages } from './pages.ts';

export interface RefusalDeps {
  readonly pages: Pick<Pages, 'renderError'>;
  readonly metrics: Pick<Metrics, 'refused'>;
  readonly log: Log;
}

export interface Refusal {
  readonly status: 400 | 413 | 503;
  readonly error: string;
  readonly description: string;
  readonly retryAfterSeconds?: number | undefined;
}

const LABELS: ReadonlyMap<string, EndpointLabel> = new Map([
  [ROUTES.token, 'token'],
  [ROUTES.authorization, 'authorization'],
  [ROUTES.pushed_authorization_request, 'pushed_authorization_request'],
  [ROUTES.device_authorization, 'device_authorization'],
  [ROUTES.introspection, 'introspection'],
  [ROUTES.revocation, 'revocation'],
  [ROUTES.userinfo, 'userinfo'],
  [ROUTES.end_session, 'logout'],
]);

/**
 * Where browser apps send requests. As the engine answers before it knows the client, they may read
 * what is wrong.
 */
const isForBrowserApps = (path: string) => LABELS.has(path) && !isPagePath(path);

export async function refuse(deps: RefusalDeps, ctx: Context, refusal: Refusal): Promise<void> {
  const { status, error, description, retryAfterSeconds } = refusal;
  const endpoint = LABELS.get(ctx.path);
  if (endpoint !== undefined) deps.metrics.refused(endpoint, error);
  deps.log.info({ request_id: ctx.get('x-request-id'), endpoint, oauth_error: error, reason: description }, 'refused');
  ctx.status = status;
  if (retryAfterSeconds !== undefined) ctx.set('Retry-After', String(retryAfterSeconds));
  ctx.set('Cache-Control', 'no-store');
  if (isForBrowserApps(ctx.path)) {
    ctx.vary('Origin');
    ctx.set('Access-Control-Allow-Origin', ctx.get('Origin') || '*');
  }
  const out = { error, error_description: description };
  // As the engine answers: a person is at the authorization endpoint, at the other pages a page is
  // for those who prefer one.
  const isPage = isPagePath(ctx.path) && ctx.accepts('json', 'html') === 'html';
  if (ctx.path === ROUTES.authorization || isPage) {
    await deps.pages.renderError(asEngineContext(ctx), out, new Error(description));
  } else ctx.body = out;
}
