// Forms and query strings (application/x-www-form-urlencoded) before they are decoded. What their
// bytes mean must not depend on the parser: Node's `querystring`, which Koa and the engine use,
// stops at 1,000 parameters, URLSearchParams does not; each puts U+FFFD in the place of what is not
// UTF-8, which includes encoded surrogates.

import { isUtf8 } from 'node:buffer';
import { type Fault, NUL_FAULT, showable } from './shape.ts';

/** `maxKeys` of `querystring.parse` */
const MAX_PARAMETERS = 1_000;

/** Without one of these, it is ASCII and has no NUL. */
const SUSPICIOUS = /%(?:00|[89a-f])|[^!-~]/i;

/**
 * RFC 7662 §2.2, RFC 7009 §2.2: a token that cannot exist is inactive and no error. An API passes
 * on whatever was presented to it, and it is only hashed.
 */
const UNCHECKED = ['token'];

/**
 * @param encoded one character for each byte (latin1), as Node gives the request target
 * @returns the first fault, whose pointer is the name of the parameter; undefined if there is none
 */
export function findEncodedFault(encoded: string): Fault | undefined {
  const hasTooMany = encoded.length > MAX_PARAMETERS && encoded.split('&', MAX_PARAMETERS + 1).length > MAX_PARAMETERS;
  if (hasTooMany) return { pointer: '', detail: `there must not be more than ${MAX_PARAMETERS} parameters` };
  if (!SUSPICIOUS.test(encoded)) return undefined;
  for (const parameter of encoded.split('&')) {
    const detail = faultOf(decode(parameter));
    const pointer = nameOf(parameter);
    if (detail !== undefined && !UNCHECKED.includes(pointer)) return { pointer, detail };
  }
  return undefined;
}

function faultOf(bytes: Buffer): string | undefined {
  if (bytes.includes(0)) return NUL_FAULT;
  return isUtf8(bytes) ? undefined : 'must be UTF-8';
}

function nameOf(parameter: string): string {
  const [name = ''] = parameter.split('=', 1);
  return showable(decode(name.replaceAll('+', ' ')).toString('utf8'));
}

/** A malformed escape stays as it is, as in every parser of forms. */
function decode(encoded: string): Buffer {
  const toByte = (escaped: string) => String.fromCharCode(Number.parseInt(escaped.slice(1), 16));
  return Buffer.from(encoded.replaceAll(/%[0-9a-f]{2}/gi, toByte), 'latin1');
}
