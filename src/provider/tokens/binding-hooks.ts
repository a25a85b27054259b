// Puts the binding rule into every path on which the engine issues something, so that no
// configuration, extra claim or new grant can leave it out. JWT access tokens pass `bindJwt`, which
// runs after every other claim has been set; ID tokens pass `issue()`; what must be true of every
// token is in issuance-invariants. test/provider/binding-contract holds this against a new version
// of the engine.

import { decodeJwt } from 'jose';
import type Provider from 'oidc-provider';
import {
  type AccessToken,
  type AdapterPayload,
  type ClientCredentials,
  errors,
  type JWTStructured,
} from 'oidc-provider';
import { bindingClaims, isAuthorizedParty, isSameClient } from '../../client-binding.ts';
import type { ChangeLog } from '../../database/change-log.ts';
import type { SigningKey } from '../../keys/key-ring.ts';
import { currentContext, overrideMethod } from '../engine-internals.ts';
import { issueTime } from '../http/current-memory.ts';
import { UNAVAILABLE } from '../http/unavailable.ts';
import type { Directory } from '../policy/directory.ts';
import type { DelegationClaims } from './delegation.ts';
import { assertIssuable } from './issuance-invariants.ts';

/** Configuration `extraTokenClaims`: what an opaque access token carries beside its `clientId`. */
export function bindOpaque(_ctx: unknown, token: AccessToken | ClientCredentials): { azp: string } {
  // The engine overwrites `extra` when it saves; token-exchange puts its claims beside it.
  const { extraClaims } = token as { extraClaims?: DelegationClaims };
  return { ...extraClaims, azp: bindingClaims(token.clientId).azp };
}

/**
 * Configuration `formats.customizers.jwt`: runs last, so it decides about the claims of a JWT
 * access token.
 */
export function jwtCustomizer({ directory, changes, signingKeys }: JwtCustomizerDeps) {
  return async (ctx: unknown, token: AccessToken | ClientCredentials, jwt: JWTStructured): Promise<void> => {
    await assertIssuable(directory, token.kind, token);
    bindJwt(ctx, token, jwt);
    jwt.payload.iat = issueTime(changes);
    assertHasKey(token, signingKeys);
    const resourceServer = await directory.findResourceServer(String(token.aud));
    if (resourceServer !== undefined) jwt.header = { typ: resourceServer.accessTokenType };
  };
}

export interface JwtCustomizerDeps {
  readonly directory: Directory;
  readonly changes: Pick<ChangeLog, 'now'>;
  readonly signingKeys: readonly Pick<SigningKey, 'alg'>[];
}

/** A process that cannot decrypt a key does without it (keys/key-ring). */
function assertHasKey(
  { resourceServer }: AccessToken | ClientCredentials,
  keys: JwtCustomizerDeps['signingKeys'],
): void {
  const alg = (resourceServer?.jwt?.sign || undefined)?.alg;
  if (alg === undefined || keys.some((key) => key.alg === alg)) return;
  const refusal = new errors.OIDCProviderError(503, UNAVAILABLE);
  throw Object.assign(refusal, { expose: true, error_description: `there is no key for ${alg} at the moment` });
}

export function bindJwt(_ctx: unknown, token: AccessToken | ClientCredentials, jwt: JWTStructured): void {
  const { payload } = jwt;
  Object.assign(payload, bindingClaims(token.clientId));
  const { grantId } = token as { grantId?: string };
  // The id of the grant is not a credential; introspection needs it to see whether the grant still
  // exists.
  if (grantId !== undefined) payload.gid = grantId;
}

/**
 * For the adapter. RFC 9126 §2.2: a `request_uri` is bound to the client that pushed it. For every
 * other client it does not exist: the engine would refuse it with the `state` of the first client
 * in the redirect of the second.
 */
export function isPushedByCaller({ request }: AdapterPayload): boolean {
  const boundClientId = decodeJwt(String(request)).client_id as string | undefined;
  return isSameClient(currentContext()?.oidc.client?.clientId, boundClientId);
}

/**
 * OpenID Connect Core §2: `azp` names the client. Without `client_id`, no API that fails to check `typ`
 * and `aud` takes an ID token for an access token; and only ID tokens are hints (RFC 8725 §3.12).
 */
export function bindIdTokens(provider: Provider): void {
  overrideMethod(provider, 'IdToken.prototype.issue', (issue) => {
    return async function (options) {
      if (options.use === 'idtoken') {
        this.set('azp', bindingClaims(this.client.clientId).azp);
        this.set('client_id', undefined);
      }
      return issue.call(this, options);
    };
  });
  overrideMethod(provider, 'IdToken.validate', (validate) => {
    return async function (jwt, client) {
      const validated = await validate.call(this, jwt, client);
      const isIdToken = validated.header.typ === undefined && isAuthorizedParty(validated.payload, client.clientId);
      if (!isIdToken) throw new errors.InvalidRequest('id_token_hint is not an ID token of this client');
      return validated;
    };
  });
}
