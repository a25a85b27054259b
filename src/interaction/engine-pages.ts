// The pages that the engine asks for by itself: errors that may not go to the client, logout, signed out.

import type { Log } from '../log.ts';
import { cspSource } from '../provider/form-post.ts';
import type { Pages } from '../provider/provider.ts';
import { showPage } from './pages.ts';

/** For errors that a person can do something about; the engine's description is for developers. */
const EXPLANATIONS: Readonly<Record<string, string>> = {
  server_error: 'Something went wrong on our side. Try again in a moment.',
  temporarily_unavailable: 'Too much is going on. Try again in a moment.',
};

export function enginePages(log: Log): Pages {
  return {
    async renderError(ctx, out, error) {
      const isStale = error.name === 'SessionNotFound';
      if (ctx.status >= 500) log.error({ error, request_id: ctx.get('x-request-id') }, 'error page');
      showPage(
        ctx,
        'error',
        {
          title: isStale ? 'This page is not current any more' : 'That did not work',
          explanation: isStale
            ? 'It was opened in another window, or too long ago. Go back to the app and sign in from there.'
            : (EXPLANATIONS[out.error] ?? out.error_description ?? 'The app sent a request that cannot be answered.'),
          code: out.error,
          requestId: ctx.get('x-request-id'),
        },
        { status: ctx.status },
      );
    },

    async renderLogout(ctx, form) {
      const target = cspSource(ctx.oidc.session?.state?.postLogoutRedirectUri);
      showPage(
        ctx,
        'logout',
        { ...form, clientName: ctx.oidc.client?.clientName || ctx.oidc.client?.clientId },
        { formTargets: target === undefined ? [] : [target] },
      );
    },

    async renderSignedOut(ctx) {
      showPage(ctx, 'signed-out', { stillSignedIn: ctx.oidc.client !== undefined });
    },
  };
}
