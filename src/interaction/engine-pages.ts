// The pages that the engine asks for by itself: errors that may not go to the client, logout, signed out, forms in passing.

import type { Query } from '../database/database.ts';
import type { Log } from '../log.ts';
import { isSessionNotFound } from '../provider/engine-internals.ts';
import type { DeviceProblem } from '../provider/engine-types.ts';
import { formTargets } from '../provider/http/form-post.ts';
import type { Pages } from '../provider/http/pages.ts';
import { requestInWords } from './consent.ts';
import { showPage } from './pages.ts';

/** For the person in front of the browser; the engine's description is for developers and stands below. */
const EXPLANATIONS: Readonly<Record<string, string>> = {
  invalid_client: 'The app that sent you here is not registered with this server.',
  invalid_redirect_uri:
    'The app wants you to be sent to an address that it has not registered. We do not send you there.',
  server_error: 'Something went wrong on our side. Try again in a moment.',
  temporarily_unavailable: 'Too much is going on. Try again in a moment.',
};
const FAULTY_REQUEST = 'The app sent a request that this server cannot answer.';

const DEVICE_PROBLEMS: Readonly<Record<DeviceProblem, string>> = {
  unknown: 'There is no such code. Look at your device again.',
  expired: 'The code has expired. Let your device show a new one.',
  used: 'The code was used already. Let your device show a new one.',
  aborted: 'You have refused. The device gets no access.',
  missing: 'Type in the code that your device shows.',
  failed: 'That did not work. Let your device show a new code.',
};

export function enginePages({ query, log }: { query: Query; log: Log }): Pages {
  return {
    async renderError(ctx, out, error) {
      const isStale = isSessionNotFound(error);
      if (ctx.status >= 500) log.error({ error, request_id: ctx.get('x-request-id') }, 'error page');
      showPage(
        ctx,
        'error',
        {
          title: isStale ? 'This page is not current any more' : 'That did not work',
          explanation: isStale
            ? 'It was opened in another window, or too long ago. Go back to the app and sign in from there.'
            : (EXPLANATIONS[out.error] ?? FAULTY_REQUEST),
          code: out.error,
          description: isStale ? undefined : out.error_description,
          requestId: ctx.get('x-request-id'),
        },
        { status: ctx.status },
      );
    },

    async renderLogout(ctx, form) {
      const { client, session } = ctx.oidc;
      showPage(
        ctx,
        'logout',
        { ...form, clientName: client?.clientName || client?.clientId },
        { formTargets: formTargets(client, session?.state?.postLogoutRedirectUri) },
      );
    },

    async renderSignedOut(ctx) {
      // The address can be opened without having signed out, and whoever stays signed in is led here too.
      const session = await ctx.oidc.provider.Session.get(ctx);
      showPage(ctx, 'signed-out', { isSignedIn: session.accountId !== undefined });
    },

    async renderUserCode(ctx, { action, xsrf, problem }) {
      const status = problem === undefined || problem === 'aborted' ? 200 : 400;
      showPage(ctx, 'user-code', { action, xsrf, problem: problem && DEVICE_PROBLEMS[problem] }, { status });
    },

    async renderDeviceConfirmation(ctx, { action, xsrf, client, address, userCode, params }) {
      const asked = await requestInWords(query, params);
      const clientName = client.clientName || client.clientId;
      showPage(ctx, 'device-confirm', { action, xsrf, userCode, address, asked, clientName });
    },

    async renderDeviceDone(ctx) {
      const { client } = ctx.oidc;
      showPage(ctx, 'device-done', { clientName: client?.clientName || client?.clientId });
    },

    renderTooManyGuesses(ctx, retryAfterSeconds) {
      ctx.set('Retry-After', String(retryAfterSeconds));
      const data = {
        title: 'Too many wrong codes',
        explanation: `Try again in ${Math.ceil(retryAfterSeconds / 60)} minutes.`,
        code: 'slow_down',
        requestId: ctx.get('x-request-id'),
      };
      showPage(ctx, 'error', data, { status: 429 });
    },

    renderFormPost(ctx, form) {
      showPage(ctx, 'form-post', { ...form }, { status: ctx.status, formTargets: form.targets, submitsItself: true });
    },
  };
}
