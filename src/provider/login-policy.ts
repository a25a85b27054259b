// When a login page is due. The engine's policy looks at the session only; a session may outlive its user, who was disabled.

import { interactionPolicy } from 'oidc-provider';

/** Configuration `interactions.policy`: the engine's own, and a session without a user counts as none. */
export function loginPolicy(): interactionPolicy.DefaultPolicy {
  const policy = interactionPolicy.base();
  policy.get('login')?.checks.add(
    new interactionPolicy.Check('no_account', 'End-User authentication is required', 'login_required', (ctx) => {
      const isOrphaned = ctx.oidc.session?.accountId !== undefined && ctx.oidc.account === undefined;
      return isOrphaned ? interactionPolicy.Check.REQUEST_PROMPT : interactionPolicy.Check.NO_NEED_TO_PROMPT;
    }),
  );
  return policy;
}
