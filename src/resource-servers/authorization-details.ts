// Rich authorization requests (RFC 9396): checks an authorization detail against the type that a
// resource server declares. The type has a JSON Schema; members that it does not name are refused
// (RFC 9396 §5).

import { Ajv2020, type AnySchema, type ValidateFunction } from 'ajv/dist/2020.js';
import { z } from 'zod';
import { findShownJsonFault, shownText } from '../input/shown-text.ts';
import type { AuthorizationDetailsType } from './resource-server.ts';

export interface AuthorizationDetail {
  readonly type: string;
  readonly locations?: readonly string[];
  readonly [member: string]: unknown;
}

export const authorizationDetailsTypeSchema = z.strictObject({
  description: shownText(200).min(1, 'must not be empty'),
  schema: z.record(z.string(), z.unknown(), 'must be a JSON Schema').optional().meta({
    description: 'JSON Schema 2020-12 of one authorization detail; without it, only the members of RFC 9396 §2.2',
  }),
});

/** RFC 9396 §2.2 */
const COMMON_MEMBERS = {
  locations: { type: 'array', items: { type: 'string' } },
  actions: { type: 'array', items: { type: 'string' } },
  datatypes: { type: 'array', items: { type: 'string' } },
  identifier: { type: 'string' },
  privileges: { type: 'array', items: { type: 'string' } },
};

/** Cached as long as the type itself. */
const compiled = new WeakMap<object, ValidateFunction>();

/** @returns what is wrong with the detail; undefined if it is valid */
export function whyDetailFails(type: AuthorizationDetailsType, detail: AuthorizationDetail): string | undefined {
  const validate = compiled.get(type) ?? compile(type.schema);
  compiled.set(type, validate);
  // Users read it on the consent page.
  if (validate(detail)) return findShownJsonFault(detail);
  const [error] = validate.errors ?? [];
  const member = error?.params.additionalProperty ?? error?.params.unevaluatedProperty;
  return `${error?.instancePath ?? ''} ${error?.message ?? 'is not valid'}${member === undefined ? '' : `: ${member}`}`.trim();
}

/** @returns why the schema cannot be used; undefined if it can */
export function whySchemaFails(schema: Readonly<Record<string, unknown>>): string | undefined {
  try {
    compile(schema);
    return undefined;
  } catch (error) {
    return `is not a JSON Schema that can be used: ${(error as Error).message}`;
  }
}

function compile(schema: Readonly<Record<string, unknown>> | undefined): ValidateFunction {
  const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false, validateFormats: false });
  const members = (schema?.properties ?? (schema === undefined ? COMMON_MEMBERS : {})) as object;
  const complete: AnySchema = {
    additionalProperties: false,
    ...schema,
    type: 'object',
    properties: { locations: COMMON_MEMBERS.locations, ...members, type: { type: 'string' } },
  };
  return ajv.compile(complete);
}
