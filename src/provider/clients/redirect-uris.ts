// Which redirect URIs a client may use: those that it has registered, compared exactly (RFC 9700 §2.1). The exception is for apps that
// run on the user's machine and get a free port from it each time (RFC 8252 §7.3): where a public client has registered an http URI
// with a loopback address, another port of that address is accepted. `localhost` is accepted as well, which is an extension of ours
// (§8.3 says NOT RECOMMENDED): many apps use it. Any program on the machine may listen at another port, as it may
// know the id of the client. So the user is asked each time (configuration/login-policy).

import type Provider from 'oidc-provider';
import type { Client } from 'oidc-provider';
import { overrideMethod } from '../engine-internals.ts';

/** Spelled exactly so: other spellings, such as 127.1 or [::ffff:127.0.0.1], are compared exactly like every other URI. */
const LOOPBACK = /^(http:\/\/(?:127\.0\.0\.1|\[::1\]|localhost))(?::([1-9]\d{0,4}))?((?:[/?].*)?)$/s;

/** Makes this engine compare them so. It would do so for all native clients, confidential ones too, and for no others. */
export function compareRedirectUris(provider: Provider): void {
  overrideMethod(provider, 'Client.prototype.redirectUriAllowed', () => {
    return function (uri) {
      return isRegistered(this, this.redirectUris, uri);
    };
  });
  overrideMethod(provider, 'Client.prototype.postLogoutRedirectUriAllowed', () => {
    return function (uri) {
      return isRegistered(this, this.postLogoutRedirectUris, uri);
    };
  });
}

/** Whether the URI is allowed, but not registered itself: it has another port. */
export function isOnAnotherPort(client: Client, uri: unknown): boolean {
  return !client.redirectUris?.includes(String(uri)) && isLoopbackOf(client, client.redirectUris, uri);
}

function isRegistered(client: Client, registered: readonly string[] | undefined, uri: unknown): boolean {
  return (typeof uri === 'string' && registered?.includes(uri)) || isLoopbackOf(client, registered, uri);
}

function isLoopbackOf(client: Client, registered: readonly string[] = [], uri: unknown): boolean {
  if (client.clientAuthMethod !== 'none') return false;
  const asked = withoutPort(String(uri));
  return asked !== undefined && registered.some((each) => withoutPort(each) === asked);
}

/** @returns undefined if it is none of these URIs */
function withoutPort(uri: string): string | undefined {
  const [, origin, port, rest] = LOOPBACK.exec(uri) ?? [];
  return origin === undefined || Number(port ?? 80) > 65_535 ? undefined : `${origin}${rest}`;
}
