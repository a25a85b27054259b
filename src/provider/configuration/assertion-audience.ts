// For whom a client may make its assertions (RFC 7523 §3). An assertion that names another server too could be used by that server.
// RFC 7523bis therefore allows the issuer only; common libraries still send the URL of the token endpoint, and lists.

import type Provider from 'oidc-provider';
import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import { errors } from 'oidc-provider';
import { overrideMethod } from '../engine-internals.ts';
import { ROUTES } from '../routes.ts';
import { hasSecurityProfile } from './fapi.ts';

/**
 * The engine would also accept the URL of the endpoint that is called.
 * @param aliasOrigin where clients present certificates, if not at the issuer: its token endpoint counts for requests to it
 */
export function expectAudiences(provider: Provider, aliasOrigin: string | undefined): void {
  const { issuer } = provider;
  const audiences = [issuer, issuer + ROUTES.token];
  overrideMethod(provider, 'OIDCContext.prototype.clientJwtAuthExpectedAudience', () => {
    return function () {
      const isAtAlias = aliasOrigin !== undefined && this.ctx.state.origin === aliasOrigin;
      return new Set(isAtAlias ? [...audiences, aliasOrigin + ROUTES.token] : audiences);
    };
  });
}

/**
 * Of a list, the engine looks for one that it expects.
 * @param audience `aud` of an assertion that the engine has accepted
 * @throws InvalidClientAuth
 */
export function assertAudience(ctx: KoaContextWithOIDC, audience: unknown, client: Client): void {
  if (mustNameIssuerOnly(client)) {
    // FAPI 2.0 Security Profile §5.3.2.1, RFC 7523bis §4
    if (audience === ctx.oidc.issuer) return;
    throw new errors.InvalidClientAuth('audience (aud) must be the issuer identifier, as a single string');
  }
  const expected: ReadonlySet<unknown> = ctx.oidc.clientJwtAuthExpectedAudience();
  if ([audience].flat().every((each) => expected.has(each))) return;
  throw new errors.InvalidClientAuth('audience (aud) must name this server only');
}

function mustNameIssuerOnly(client: Client): boolean {
  return (
    hasSecurityProfile(client) || (client as { require_issuer_audience?: boolean }).require_issuer_audience === true
  );
}
