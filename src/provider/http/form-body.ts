// Reads the form of a request, once, through the input gate. Fast path and engine path get it from
// here: what the gate refuses is no form for either. What was read must be handed back before the
// engine reads.

import type { IncomingMessage } from 'node:http';
import getRawBody from 'raw-body';
import { findEncodedFault } from '../../input/encoded.ts';
import type { Fault } from '../../input/shape.ts';
import { provideBody } from '../engine-internals.ts';
import { findParameterFault } from './parameter-shape.ts';

/** The engine's own limit, which it does not apply to a body that was read before. */
const LIMIT_BYTES = 56 * 1024;

export type FormReading =
  | { readonly outcome: 'accepted'; readonly body: string }
  | { readonly outcome: 'refused'; readonly fault: Fault }
  /** RFC 9110 §15.5.14 */
  | { readonly outcome: 'too large' }
  /** shorter or longer than announced, or broken off */
  | { readonly outcome: 'incomplete' };

const readings = new WeakMap<IncomingMessage, Promise<FormReading>>();

/**
 * RFC 9110 §8.3.1: media types are case-insensitive; what follows a semicolon changes nothing about
 * a form.
 */
export function isForm({ method, headers }: IncomingMessage): boolean {
  return method === 'POST' && /^application\/x-www-form-urlencoded[ \t]*(?:;|$)/i.test(headers['content-type'] ?? '');
}

/** RFC 9110 §8.3: what it is would be a guess. */
export function hasUntypedBody({ method, headers }: IncomingMessage): boolean {
  if (method !== 'POST' || headers['content-type']) return false;
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** For the engine path, which asks several times. */
export function keptForm(request: IncomingMessage): Promise<FormReading> {
  const reading = readings.get(request) ?? readForm(request);
  readings.set(request, reading);
  return reading;
}

/** For the engine path, which answers what the fast path has read and does not take. */
export function keepForm(request: IncomingMessage, reading: FormReading): void {
  readings.set(request, Promise.resolve(reading));
}

/** @returns undefined for a form that is not accepted */
export async function readFormBody(request: IncomingMessage): Promise<string | undefined> {
  const reading = await keptForm(request);
  return reading.outcome === 'accepted' ? reading.body : undefined;
}

/** What was read is not kept: for most requests that would cost more than reading it. */
export async function readForm(request: IncomingMessage): Promise<FormReading> {
  const length = request.headers['content-length'] ?? null;
  let bytes: Buffer;
  try {
    bytes = await getRawBody(request, { limit: LIMIT_BYTES, length });
  } catch (error) {
    const isTooLarge = error instanceof Error && 'type' in error && error.type === 'entity.too.large';
    return { outcome: isTooLarge ? 'too large' : 'incomplete' };
  }
  const body = bytes.toString('utf8');
  const fault = findEncodedFault(bytes.toString('latin1')) ?? findParameterFault(body);
  return fault === undefined ? { outcome: 'accepted', body } : { outcome: 'refused', fault };
}

/** Gives back what was read from a request, if anything was. */
export async function handBack(request: IncomingMessage): Promise<void> {
  const reading = await readings.get(request);
  if (reading?.outcome === 'accepted') provideBody(request, reading.body);
}
