// The first of the engine's middlewares: query string and form of a request, with the JSON inside
// of them, must have a shape that everything behind it can work with (input/shape). The fast path
// reads its forms through the same check (form-body), and leaves what is refused to this one.

import type { Context, Middleware } from 'koa';
import { findEncodedFault } from '../../input/encoded.ts';
import type { Fault } from '../../input/shape.ts';
import type { Log } from '../../log.ts';
import type { EndpointLabel } from '../../metrics/closed-lists.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { asEngineContext } from '../engine-internals.ts';
import { ROUTES } from '../routes.ts';
import { handBack, isForm, keptForm } from './form-body.ts';
import type { Pages } from './pages.ts';
import { findParameterFault } from './parameter-shape.ts';

export interface InputGateDeps {
  readonly pages: Pick<Pages, 'renderError'>;
  readonly metrics: Pick<Metrics, 'refused'>;
  readonly log: Log;
}

interface Refusal {
  readonly status: 400 | 413;
  readonly error: string;
  readonly description: string;
}

export function inputGate(deps: InputGateDeps): Middleware {
  return async (ctx, next) => {
    const refusal = refuseQuery(ctx.querystring) ?? (await refuseForm(ctx));
    if (refusal !== undefined) return refuse(deps, ctx, refusal);
    await handBack(ctx.req);
    await next();
  };
}

function refuseQuery(query: string): Refusal | undefined {
  const fault = findEncodedFault(query) ?? findParameterFault(query);
  return fault && toRefusal(fault);
}

async function refuseForm({ req }: Context): Promise<Refusal | undefined> {
  if (!isForm(req)) return undefined;
  const reading = await keptForm(req);
  switch (reading.outcome) {
    case 'accepted':
      return undefined;
    case 'refused':
      return toRefusal(reading.fault);
    case 'too large':
      // RFC 9126 §2.3
      return { status: 413, error: 'invalid_request', description: 'the request body is too large' };
    case 'incomplete':
      return { status: 400, error: 'invalid_request', description: 'the request body is not complete' };
  }
}

function toRefusal({ pointer, detail }: Fault): Refusal {
  const description = pointer === '' ? detail : `${pointer} ${detail}`;
  const [parameter = ''] = pointer.split('/', 1);
  return { status: 400, error: ERRORS.get(parameter) ?? 'invalid_request', description };
}

/**
 * Where the error of a parameter has a name of its own: RFC 6749 §5.2, RFC 8707 §2, RFC 9101 §7,
 * RFC 9396 §5.
 */
const ERRORS: ReadonlyMap<string, string> = new Map([
  ['scope', 'invalid_scope'],
  ['resource', 'invalid_target'],
  ['code', 'invalid_grant'],
  ['refresh_token', 'invalid_grant'],
  ['request', 'invalid_request_object'],
  ['authorization_details', 'invalid_authorization_details'],
]);

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

/** Where browser apps send forms. As the engine answers before it knows the client, they may read what is wrong. */
const FOR_BROWSER_APPS: ReadonlySet<string> = new Set([
  ...[ROUTES.token, ROUTES.pushed_authorization_request, ROUTES.device_authorization],
  ...[ROUTES.introspection, ROUTES.revocation, ROUTES.userinfo],
]);

async function refuse(deps: InputGateDeps, ctx: Context, { status, error, description }: Refusal): Promise<void> {
  const endpoint = LABELS.get(ctx.path);
  if (endpoint !== undefined) deps.metrics.refused(endpoint, error);
  deps.log.info({ request_id: ctx.get('x-request-id'), endpoint, oauth_error: error, reason: description }, 'refused');
  ctx.status = status;
  ctx.set('Cache-Control', 'no-store');
  if (FOR_BROWSER_APPS.has(ctx.path)) {
    ctx.vary('Origin');
    ctx.set('Access-Control-Allow-Origin', ctx.get('Origin') || '*');
  }
  const out = { error, error_description: description };
  // As the engine answers: a person is at the authorization endpoint, elsewhere a page is for those
  // who prefer one.
  if (ctx.path === ROUTES.authorization || ctx.accepts('json', 'html') === 'html') {
    await deps.pages.renderError(asEngineContext(ctx), out, new Error(description));
  } else ctx.body = out;
}
