// The scope offline_access (OpenID Connect Core §11): what is granted with it outlives the browser session. The engine drops it from
// requests without prompt=consent. §11 lets "other conditions" take the place of that prompt, and asks for consent: here the user is
// asked for offline_access itself, by name, on the consent page, as for every other scope. Who has allowed it is not asked again.

import type Provider from 'oidc-provider';
import type { Configuration, KoaContextWithOIDC } from 'oidc-provider';
import { checkScopesWith, type ScopeCheck, storeMember } from '../engine-authorization.ts';
import { DROPPED_SCOPE } from '../http/parameters.ts';
import { scopeOf, scopesOf } from '../policy/requested-scopes.ts';
import {
  askedIn,
  keepDropped,
  type RequestParameters,
  rememberUngranted,
  type Source,
  UNGRANTED_SCOPE,
} from '../policy/ungranted-scopes.ts';

const OFFLINE_ACCESS = 'offline_access';

/** Makes this engine keep offline_access, and the names of the scopes that it does not keep. */
export function keepAskedScopes(provider: Provider): void {
  checkScopesWith(provider, keepOfflineAccess);
  storeMember(provider, UNGRANTED_SCOPE);
}

/** Keeps it where the client may ask for it, and has refresh tokens to use it with. */
const keepOfflineAccess: ScopeCheck = ({ oidc }) => {
  const { client, entities } = oidc;
  const params = oidc.params as RequestParameters;
  // A pushed request has been checked when it was pushed.
  if (entities.PushedAuthorizationRequest === undefined) params[DROPPED_SCOPE] = undefined;
  const asked = askedIn(params);
  const named = scopesOf(params.scope);
  const isAllowed = client?.scope === undefined || scopesOf(client.scope).has(OFFLINE_ACCESS);
  const isKept = named.has(OFFLINE_ACCESS) && isAllowed && client?.grantTypeAllowed('refresh_token') === true;
  return () => {
    const checked = scopesOf(params.scope);
    if (isKept) params.scope = scopeOf([...named].filter((name) => name === OFFLINE_ACCESS || checked.has(name)));
    params[DROPPED_SCOPE] = scopeOf(asked);
  };
};

/** Configuration `extraParams[DROPPED_SCOPE]`: what is called when the engine has dropped the scopes of APIs where no API was named. */
export function keepAllDropped({ oidc }: KoaContextWithOIDC): void {
  const params = oidc.params as RequestParameters;
  keepDropped(params, askedIn(params));
}

type LoadGrant = NonNullable<Configuration['loadExistingGrant']>;

/**
 * Around the configuration `loadExistingGrant`. With prompt=none nobody can be asked: without an
 * earlier consent offline_access is ignored (§11), so that apps can renew silently.
 */
export function ignoringUnallowedOfflineAccess(load: LoadGrant): LoadGrant {
  return async (ctx) => {
    const grant = await load(ctx);
    const { prompts } = ctx.oidc;
    const params = ctx.oidc.params as RequestParameters;
    if (!prompts.has('none') || scopesOf(grant?.getOIDCScope()).has(OFFLINE_ACCESS)) return grant;
    const asked = askedIn(params);
    const others = [...scopesOf(params.scope)].filter((name) => name !== OFFLINE_ACCESS);
    params.scope = scopeOf(others);
    keepDropped(params, asked);
    return grant;
  };
}

/** Configuration `expiresWithSession`: called for each new code, before it is stored. */
export const expiresWithSession: NonNullable<Configuration['expiresWithSession']> = async ({ oidc }, code) => {
  rememberUngranted(oidc.params as RequestParameters, code as Source);
  return !code.scopes.has(OFFLINE_ACCESS);
};
