// The form of a request that is not left to the engine to read.

import type { IncomingMessage } from 'node:http';
import type { Context, Middleware } from 'koa';
import getRawBody from 'raw-body';

/** The engine's own limit, which it does not apply to a body that was read before. */
const LIMIT_BYTES = 56 * 1024;

/** RFC 9110 §15.5.14, RFC 9126 §2.3. The engine refuses it too, but says that it could not parse it. */
export function refuseLargeForms(paths: ReadonlySet<string>): Middleware {
  return async (ctx, next) => {
    if (!paths.has(ctx.path) || !(Number(ctx.get('content-length')) > LIMIT_BYTES)) return next();
    answerTooLarge(ctx);
  };
}

export function answerTooLarge(ctx: Context): void {
  ctx.status = 413;
  ctx.body = { error: 'invalid_request', error_description: 'the request body is too large' };
}

/** RFC 9110 §8.3.1: media types do not distinguish letters; what follows a semicolon changes nothing about a form. */
export function isForm({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' && /^application\/x-www-form-urlencoded[ \t]*(?:;|$)/i.test(headers['content-type'] ?? '');
}

/** @returns undefined if it is too large, shorter than announced, or broke off */
export async function readFormBody(request: IncomingMessage): Promise<string | undefined> {
  try {
    const length = request.headers['content-length'] ?? null;
    const bytes = await getRawBody(request, { limit: LIMIT_BYTES, length });
    return bytes.toString('utf8');
  } catch {
    return undefined;
  }
}
