// The first of the engine's middlewares: query string and form of a request, with the JSON inside
// of them, must have a shape that everything behind it can work with (input/shape). The fast path
// reads its forms through the same check (form-body), and leaves what is refused to this one.

import type { Context, Middleware } from 'koa';
import { findEncodedFault } from '../../input/encoded.ts';
import type { Fault } from '../../input/shape.ts';
import { type Refusal, type RefusalDeps, refuse } from './early-refusal.ts';
import { handBack, hasUntypedBody, isForm, keptForm } from './form-body.ts';
import { findParameterFault } from './parameter-shape.ts';

export function inputGate(deps: RefusalDeps): Middleware {
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

/** The engine would miss every parameter of it. */
const UNTYPED: Refusal = {
  status: 400,
  error: 'invalid_request',
  description: 'the body has no Content-Type: send it as application/x-www-form-urlencoded',
};

async function refuseForm({ req }: Context): Promise<Refusal | undefined> {
  if (!isForm(req)) return hasUntypedBody(req) ? UNTYPED : undefined;
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
  ['audience', 'invalid_target'],
  ['code', 'invalid_grant'],
  ['refresh_token', 'invalid_grant'],
  ['request', 'invalid_request_object'],
  ['authorization_details', 'invalid_authorization_details'],
]);
