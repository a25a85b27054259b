// When a login page or a consent page is shown, besides what the engine's policy says. That looks at the
// session only, which may outlive a user who was disabled.

import { errors, interactionPolicy, type KoaContextWithOIDC } from 'oidc-provider';
import { isOnAnotherPort } from '../clients/redirect-uris.ts';

/**
 * The only way to sign in, as an Authentication Context Class Reference (OpenID Connect Core §2).
 */
export const PASSWORD_ACR = 'urn:lanyard:acr:password';

/**
 * The prompts at which a user signs in (OpenID Connect Core §3.1.2.1). A session has one account,
 * so a user selects another one by signing in with it.
 */
export const LOGIN_PROMPTS: readonly string[] = ['login', 'select_account'];

/**
 * Configuration `interactions.policy`: the engine's own, and `select_account`. A session without a
 * user counts as none. A client that demands an `acr` which does not exist gets an error, not the
 * login page again and again.
 */
export function loginPolicy(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('acr_unavailable', 'the requested acr is not available', (ctx) => {
      if (demandsAnotherAcr(ctx)) throw new UnmetAuthenticationRequirements();
      return interactionPolicy.Check.NO_NEED_TO_PROMPT;
    }),
    0,
  );
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('no_account', 'End-User authentication is required', 'login_required', (ctx) => {
      const isOrphaned = ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined;
      return isOrphaned ? interactionPolicy.Check.REQUEST_PROMPT : interactionPolicy.Check.NO_NEED_TO_PROMPT;
    }),
  );
  policy.get('consent')?.checks.add(
    // RFC 8252 §8.6: any program may listen there, and get the tokens of the app if the user is not asked.
    new interactionPolicy.Check('another_port', 'the redirect_uri has another port', 'interaction_required', (ctx) => {
      const { client, params, result } = ctx.oidc;
      const isUnasked = client !== undefined && isOnAnotherPort(client, params?.redirect_uri) && !result?.consent;
      return isUnasked ? interactionPolicy.Check.REQUEST_PROMPT : interactionPolicy.Check.NO_NEED_TO_PROMPT;
    }),
  );
  policy.add(new interactionPolicy.Prompt({ name: 'select_account', requestable: true }), 1);
  return policy;
}

/** OpenID Connect Core §5.5.1.1: an essential `acr` must be one of the requested values. */
function demandsAnotherAcr(ctx: KoaContextWithOIDC): boolean {
  const acr = ctx.oidc.claims?.id_token?.acr as { essential?: boolean; value?: unknown; values?: unknown } | undefined;
  if (acr?.essential !== true) return false;
  const named = acr.values ?? (acr.value === undefined ? undefined : [acr.value]);
  return Array.isArray(named) && !named.includes(PASSWORD_ACR);
}

/** OpenID Connect Core Error Code unmet_authentication_requirements 1.0 */
class UnmetAuthenticationRequirements extends errors.CustomOIDCProviderError {
  constructor() {
    super('unmet_authentication_requirements', 'none of the requested authentication context classes is available');
  }
}
