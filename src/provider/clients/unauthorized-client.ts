// A client that asks for something that its registration does not allow is `unauthorized_client` (RFC 6749 §4.1.2.1, §5.2; RFC 8628
// §3.2). The engine says that its request is malformed.

import Provider, { errors } from 'oidc-provider';

/** RFC 8628 §3.4 */
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** Makes this engine instance say so. */
export function nameUnauthorizedClients({ Client }: Provider): void {
  const { grantTypeAllowed, responseTypeAllowed } = Client.prototype;
  Client.prototype.grantTypeAllowed = function (type) {
    const isAllowed = grantTypeAllowed.call(this, type);
    if (!isAllowed && type === requestedGrantType()) {
      throw new errors.UnauthorizedClient('requested grant type is not allowed for this client');
    }
    return isAllowed;
  };
  // Asked at authorization and pushed requests only.
  Client.prototype.responseTypeAllowed = function (type) {
    if (responseTypeAllowed.call(this, type)) return true;
    throw new errors.UnauthorizedClient('requested response_type is not allowed for this client');
  };
}

/** The engine also asks what a client might do besides, for example whether it may have refresh tokens. */
function requestedGrantType(): unknown {
  const { route, params } = Provider.ctx?.oidc ?? {};
  if (route === 'device_authorization') return DEVICE_GRANT;
  return route === 'token' ? params?.grant_type : undefined;
}
