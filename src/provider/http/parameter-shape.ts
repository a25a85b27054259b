// JSON inside of parameters: `claims` (OpenID Connect Core §5.5), `authorization_details` (RFC
// 9396), request objects (RFC 9101) and client assertions (RFC 7523). The engine copies, converts
// and serialises it before it looks at a signature, so that its shape must be known before. What is
// no JSON and no JWT is left to the engine, which says what is wrong with it. The other JWTs that
// clients send (DPoP proofs, hints, tokens) are neither copied nor stored.

import { decodeJwt, decodeProtectedHeader } from 'jose';
import { type Fault, findFault } from '../../input/shape.ts';
import { AUTHORIZATION_PARAMETERS } from './parameters.ts';

const JSON_PARAMETERS = ['claims', 'authorization_details'];

/**
 * @returns the first fault, whose pointer begins with the name of the parameter; undefined if there
 * is none
 */
export function findParameterFault(params: URLSearchParams): Fault | undefined {
  for (const [name, value] of params) {
    const fault = faultOf(name, value);
    if (fault !== undefined) return { ...fault, pointer: name + fault.pointer };
  }
  return undefined;
}

function faultOf(name: string, value: string): Fault | undefined {
  if (JSON_PARAMETERS.includes(name)) return findFault(parsed(() => JSON.parse(value)));
  if (name === 'client_assertion')
    return findFault(parsed(() => decodeProtectedHeader(value))) ?? findFault(parsed(() => decodeJwt(value)));
  return name === 'request' ? faultOfRequestObject(value) : undefined;
}

function faultOfRequestObject(value: string): Fault | undefined {
  const members = parsed(() => decodeJwt(value)) ?? {};
  return findFault(parsed(() => decodeProtectedHeader(value))) ?? findFault(members) ?? findTypeFault(members);
}

/**
 * Their members are parameters, which the engine turns into text (RFC 9101 §4); others are claims
 * of which it knows the type.
 */
function findTypeFault(members: Readonly<Record<string, unknown>>): Fault | undefined {
  for (const [name, value] of Object.entries(members)) {
    if (!AUTHORIZATION_PARAMETERS.has(name) || JSON_PARAMETERS.includes(name)) continue;
    // A list is `resource`, or a parameter that occurs twice.
    const hasText = [value].flat().every((each) => typeof each !== 'object' || each === null);
    if (!hasText) return { pointer: `/${name}`, detail: 'must be text' };
  }
  return undefined;
}

function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}
