// JSON inside of parameters: `claims` (OpenID Connect Core §5.5), `authorization_details` (RFC
// 9396), request objects (RFC 9101) and client assertions (RFC 7523). The engine copies, converts
// and serialises it before it looks at a signature, so that its shape must be known before. What is
// no JSON and no JWT is left to the engine, which says what is wrong with it. The other JWTs that
// clients send (DPoP proofs, hints, tokens) are neither copied nor stored.

import { decodeJwt, decodeProtectedHeader } from 'jose';
import { type Fault, findFault } from '../../input/shape.ts';
import { AUTHORIZATION_PARAMETERS, DROPPED_SCOPE } from './parameters.ts';

const JSON_PARAMETERS: ReadonlySet<string> = new Set(['claims', 'authorization_details']);

/** Each is compared with each, and with those that were granted before. */
const MAX_DETAILS = 50;

/** One of the parameters below, or one whose name is written with escapes. */
const MAY_HOLD_JSON = /(?:^|&)(?:(?:claims|authorization_details|request|client_assertion)=|[^=&]*%)/;

/**
 * @param encoded a form or a query string
 * @returns the first fault, whose pointer begins with the name of the parameter; undefined if there
 *   is none
 */
export function findParameterFault(encoded: string): Fault | undefined {
  if (!MAY_HOLD_JSON.test(encoded)) return undefined;
  for (const [name, value] of new URLSearchParams(encoded)) {
    const fault = faultOf(name, value);
    if (fault !== undefined) return { ...fault, pointer: name + fault.pointer };
  }
  return undefined;
}

function faultOf(name: string, value: string): Fault | undefined {
  if (JSON_PARAMETERS.has(name))
    return findJsonFault(
      name,
      parsed(() => JSON.parse(value)),
    );
  if (name !== 'request' && name !== 'client_assertion') return undefined;
  const members = parsed(() => decodeJwt(value));
  const fault = findFault(parsed(() => decodeProtectedHeader(value))) ?? findFault(members);
  return fault ?? (name === 'request' ? findMemberFault(members ?? {}) : undefined);
}

function findJsonFault(name: string, value: unknown): Fault | undefined {
  if (name === 'authorization_details' && Array.isArray(value) && value.length > MAX_DETAILS) {
    return { pointer: '', detail: `must have ${MAX_DETAILS} entries at most` };
  }
  return findFault(value);
}

/**
 * The members of a request object that are parameters: the engine turns them into text (RFC 9101
 * §4). The others are claims of which it knows the type.
 */
function findMemberFault(members: Readonly<Record<string, unknown>>): Fault | undefined {
  for (const [name, value] of Object.entries(members)) {
    const fault = faultOfMember(name, value);
    if (fault !== undefined) return { ...fault, pointer: `/${name}${fault.pointer}` };
  }
  return undefined;
}

function faultOfMember(name: string, value: unknown): Fault | undefined {
  // A request object may be stored as it came (RFC 9126 §3), and with it what the client says this server has dropped.
  if (name === DROPPED_SCOPE) return { pointer: '', detail: 'is not for clients to send' };
  if (!AUTHORIZATION_PARAMETERS.has(name)) return undefined;
  if (typeof value === 'string') return JSON_PARAMETERS.has(name) ? faultOf(name, value) : undefined;
  // JSON as it is, which has been checked with the rest (OpenID Connect Core §5.5, RFC 9396 §2).
  if (name === 'claims' && !Array.isArray(value)) return undefined;
  if (name === 'authorization_details' && Array.isArray(value)) return findJsonFault(name, value);
  // A list is `resource`, or a parameter that occurs twice. The engine would take an empty one for neither named nor left out.
  const list = [value].flat();
  const hasText = list.length > 0 && list.every((each) => typeof each !== 'object' || each === null);
  return hasText ? undefined : { pointer: '', detail: 'is not of the type that this parameter has' };
}

function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
