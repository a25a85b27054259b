// Puts the binding rule into every path on which the engine issues something, so that no configuration, extra claim or new
// grant can leave it out. Both kinds of issuing end in `save()`; JWTs also pass `bindJwt`, which runs after every other claim
// has been set; ID tokens end in `issue()`. test/provider/binding-contract holds this against a new version of the engine.

import { decodeJwt } from 'jose';
import type { AccessToken, ClientCredentials, IdToken, JWTStructured, RefreshToken } from 'oidc-provider';
import Provider from 'oidc-provider';
import { bindingClaims, isSameClient } from '../../client-binding.ts';
import type { DelegationClaims } from './delegation.ts';

const ISSUED_MODELS = ['AccessToken', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode', 'DeviceCode'] as const;

/** Configuration `extraTokenClaims`: what an opaque access token carries beside its `clientId`. */
export function bindOpaque(_ctx: unknown, token: AccessToken | ClientCredentials): { azp: string } {
  // The engine overwrites `extra` when it saves; token-exchange puts its claims beside it.
  const { extraClaims } = token as { extraClaims?: DelegationClaims };
  return { ...extraClaims, azp: bindingClaims(token.clientId).azp };
}

/** Configuration `formats.customizers.jwt`: the last word on the claims of a JWT access token. */
export function bindJwt(_ctx: unknown, token: AccessToken | ClientCredentials, jwt: JWTStructured): void {
  const payload = jwt.payload as Record<string, unknown>;
  Object.assign(payload, bindingClaims(token.clientId));
  const grantId = (token as { grantId?: string }).grantId;
  // The id of the grant is not a credential; introspection needs it to see that the grant still stands.
  if (grantId !== undefined) payload.gid = grantId;
  else if (token.kind === 'AccessToken' && payload.lanyard_origin === undefined)
    throw new Error('refusing to issue a token of a user without a grant');
}

/**
 * RFC 9126 §2.2: a `request_uri` is bound to the client that pushed it. To every other there is none: the engine would notice, and
 * send a refusal with the state of the one to the other.
 */
export function bindPushedRequests(provider: Provider): void {
  const model = provider.PushedAuthorizationRequest as unknown as {
    find(id: string, options?: object): Promise<{ request: string } | undefined>;
  };
  const find = model.find;
  model.find = async (id, options) => {
    const pushed = await find.call(model, id, options);
    const boundClientId = pushed && (decodeJwt(pushed.request).client_id as string);
    return isSameClient(Provider.ctx?.oidc.client?.clientId, boundClientId) ? pushed : undefined;
  };
}

/** Patches the models of this engine instance; each refuses to issue anything that names no client. */
export function bindModels(provider: Provider): void {
  for (const model of ISSUED_MODELS) {
    const prototype = provider[model].prototype as { save(ttl?: number): Promise<string> };
    const save = prototype.save;
    prototype.save = async function (this: { clientId?: string }, ttl?: number) {
      bindingClaims(this.clientId);
      return save.call(this, ttl);
    };
  }
  const prototype = provider.IdToken.prototype as unknown as {
    issue(options: { use: string }): Promise<string>;
  };
  const issue = prototype.issue;
  prototype.issue = async function (this: IdToken & { client?: { clientId?: string } }, options) {
    if (options.use === 'idtoken') {
      const binding = bindingClaims(this.client?.clientId);
      this.set('client_id', binding.client_id);
      this.set('azp', binding.azp); // OpenID Connect Core §2
    }
    return issue.call(this, options);
  };
}

export type IssuedToken = AccessToken | ClientCredentials | RefreshToken;
