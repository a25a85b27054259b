// Reads the form of a request before the engine does. Who has read it must hand it over before the engine comes.

import type { IncomingMessage } from 'node:http';
import type { Context, Middleware } from 'koa';
import getRawBody from 'raw-body';
import { provideBody } from '../engine-internals.ts';

/** The engine's own limit, which it does not apply to a body that was read before. */
const LIMIT_BYTES = 56 * 1024;

const read = new WeakMap<IncomingMessage, string>();

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
  const known = read.get(request);
  if (known !== undefined) return known;
  try {
    const length = request.headers['content-length'] ?? null;
    const bytes = await getRawBody(request, { limit: LIMIT_BYTES, length });
    const body = bytes.toString('utf8');
    read.set(request, body);
    return body;
  } catch {
    return undefined;
  }
}

/** What was read from a request, if anything was. */
export function handBack(request: IncomingMessage): void {
  const body = read.get(request);
  if (body !== undefined) provideBody(request, body);
}
