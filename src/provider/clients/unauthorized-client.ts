// `unauthorized_client`: a client asks for a grant or response type that it is not registered for
// (RFC 6749 §4.1.2.1, §5.2; RFC 8628 §3.2). The engine answers `invalid_request`.

import type Provider from 'oidc-provider';
import { errors } from 'oidc-provider';
import { currentContext, overrideMethod } from '../engine-internals.ts';

/** RFC 8628 §3.4 */
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** Makes this engine answer with that error. */
export function nameUnauthorizedClients(provider: Provider): void {
  overrideMethod(provider, 'Client.prototype.grantTypeAllowed', (grantTypeAllowed) => {
    return function (type) {
      const isAllowed = grantTypeAllowed.call(this, type);
      if (!isAllowed && type === requestedGrantType()) {
        throw new errors.UnauthorizedClient('requested grant type is not allowed for this client');
      }
      return isAllowed;
    };
  });
  // The engine asks this at authorization and pushed requests only.
  overrideMethod(provider, 'Client.prototype.responseTypeAllowed', (responseTypeAllowed) => {
    return function (type) {
      if (responseTypeAllowed.call(this, type)) return true;
      throw new errors.UnauthorizedClient('requested response_type is not allowed for this client');
    };
  });
}

/**
 * The engine also asks about other grant types, for example whether the client may have refresh
 * tokens.
 */
function requestedGrantType(): unknown {
  const { route, params } = currentContext()?.oidc ?? {};
  if (route === 'device_authorization') return DEVICE_GRANT;
  return route === 'token' ? params?.grant_type : undefined;
}
