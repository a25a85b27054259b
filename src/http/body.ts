// Request bodies, read once: with a limit, in the content type that the endpoint expects, through
// the input gate (input/shape).

import type { Context } from 'koa';
import getRawBody from 'raw-body';
import type { z } from 'zod';
import { AppError, type FaultyMember } from '../errors.ts';
import { findEncodedFault } from '../input/encoded.ts';
import { type Fault, findFault } from '../input/shape.ts';

/**
 * Larger than any honest client registration with its keys, small enough to be read into memory a
 * thousand times.
 */
export const BODY_LIMIT_BYTES = 64 * 1024;

export async function readJson(ctx: Context): Promise<unknown> {
  if (!ctx.is('application/json', 'application/merge-patch+json')) {
    throw new AppError('unsupported_media_type', 'send the body as application/json');
  }
  const text = await readText(ctx);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new AppError('malformed_request', 'the body is not valid JSON');
  }
  refuse(findFault(value));
  return value;
}

/**
 * A form as the browser sends it. A field that occurs twice is refused: which one counts would be a
 * guess.
 */
export async function readForm(ctx: Context): Promise<Record<string, string>> {
  if (!ctx.is('application/x-www-form-urlencoded')) {
    throw new AppError('unsupported_media_type', 'send the form as application/x-www-form-urlencoded');
  }
  const text = await readText(ctx);
  assertEncodedText(Buffer.from(text).toString('latin1'), '/');
  const form: Record<string, string> = Object.create(null);
  for (const [name, value] of new URLSearchParams(text)) {
    if (name in form) throw new AppError('malformed_request', 'a form field occurs twice');
    form[name] = value;
  }
  return form;
}

/**
 * @param encoded a form or a query string
 * @throws AppError `malformed_request` naming the parameter that is not text
 */
export function assertEncodedText(encoded: string, where: '/' | '?'): void {
  const fault = findEncodedFault(encoded);
  refuse(fault && { ...fault, pointer: where + fault.pointer });
}

function refuse(fault: Fault | undefined): void {
  if (fault === undefined) return;
  throw new AppError('malformed_request', `${fault.pointer} ${fault.detail}`.trim(), { faults: [fault] });
}

async function readText(ctx: Context): Promise<string> {
  if (ctx.get('content-encoding') !== '' && ctx.get('content-encoding') !== 'identity') {
    throw new AppError('unsupported_media_type', 'compressed bodies are not accepted');
  }
  let bytes: Buffer;
  try {
    bytes = await getRawBody(ctx.req, { limit: BODY_LIMIT_BYTES, length: ctx.request.length ?? null });
  } catch (cause) {
    if (cause instanceof Error && 'type' in cause && cause.type === 'entity.too.large') {
      throw new AppError('content_too_large', `the body may have ${BODY_LIMIT_BYTES} bytes at most`);
    }
    throw new AppError('malformed_request', 'the body could not be read', { cause });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new AppError('malformed_request', 'the body is not valid UTF-8');
  }
}

/**
 * Parses what came in.
 * @param where '/' for a body (pointers are then JSON Pointers), '?' for query parameters, ':' for
 *   path parameters
 * @throws AppError `validation_failed` naming every faulty member
 */
export function parse<T>(schema: z.ZodType<T>, value: unknown, where: '/' | '?' | ':'): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.flatMap((issue) => toFaults(issue, where));
  throw new AppError('validation_failed', faults.map((fault) => `${fault.pointer} ${fault.detail}`).join('; '), {
    faults,
  });
}

function toFaults(issue: z.core.$ZodIssue, where: string): FaultyMember[] {
  const path = issue.path.map((key) => String(key).replaceAll('~', '~0').replaceAll('/', '~1'));
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({
      pointer: where + [...path, key.slice(0, 100)].join('/'),
      detail: 'is not a known member',
    }));
  }
  return [{ pointer: where + path.join('/'), detail: issue.message }];
}
