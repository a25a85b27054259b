// Which resource servers a request names: by `resource` (RFC 8707 §2), or by `audience`, as the
// libraries of other servers call it. Only token exchange has an `audience` of its own (RFC 8693).

import { errors } from 'oidc-provider';
import { isSameIdentifier } from '../../resource-servers/identifier.ts';

/** As a request has them, at whatever endpoint. */
export interface ResourceParameters {
  readonly resource?: unknown;
  readonly audience?: unknown;
}

/** @throws InvalidTarget when the two name different ones */
export function requestedResources({ resource, audience }: ResourceParameters): string[] {
  const named = [resource ?? []].flat().map(String);
  if (audience === undefined) return named;
  if (named.some((each) => !isSameIdentifier(each, String(audience)))) {
    throw new errors.InvalidTarget('audience and resource name different APIs: send one of them');
  }
  return named.length > 0 ? named : [String(audience)];
}
