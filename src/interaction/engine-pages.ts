// The pages that the engine asks for: errors that must not go to the client, logout, the device
// flow, form_post responses.

import { findClient } from '../clients/store.ts';
import type { Query } from '../database/database.ts';
import type { Log } from '../log.ts';
import { isSessionNotFound } from '../provider/engine-internals.ts';
import type { DeviceProblem } from '../provider/engine-types.ts';
import type { Pages } from '../provider/http/pages.ts';
import { ROUTES } from '../provider/routes.ts';
import { findUser } from '../users/store.ts';
import { describeApp } from './app.ts';
import { inWords, namedBy } from './asked.ts';
import type { Logos } from './logos.ts';
import { clientNameOf, type ErrorPage, STALE_PAGE, showErrorPage, showPage } from './pages.ts';
import { linkToApp } from './ways-on.ts';

export interface EnginePagesDeps {
  readonly query: Query;
  readonly logos: Pick<Logos, 'pathOf'>;
  readonly log: Log;
}

/** For the user; the engine's own description, for developers, is shown below. */
const EXPLANATIONS: Readonly<Record<string, string>> = {
  invalid_client: 'The app that sent you here is not registered with this server.',
  invalid_redirect_uri: 'The app wants you to be sent to an address that it has not registered.',
  server_error: 'Something went wrong on this server. Try again in a moment.',
  temporarily_unavailable: 'The server is busy. Try again in a moment.',
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

export function enginePages(deps: EnginePagesDeps): Pages {
  return {
    renderError: (...input) => renderError(deps, ...input),
    renderLogout,
    renderSignedOut,
    renderUserCode,
    renderDeviceConfirmation: (...input) => renderDeviceConfirmation(deps, ...input),
    renderDeviceDone: (...input) => renderDeviceDone(deps, ...input),
    renderTooManyGuesses,
    renderFormPost,
  };
}

type Render<Name extends keyof Pages> = Pages[Name];
type RenderWith<Name extends keyof Pages> = (
  deps: EnginePagesDeps,
  ...input: Parameters<Pages[Name]>
) => ReturnType<Pages[Name]>;

const renderError: RenderWith<'renderError'> = async (deps, ctx, out, error) => {
  if (ctx.status >= 500) deps.log.error({ error, request_id: ctx.get('x-request-id') }, 'error page');
  const page: ErrorPage = isSessionNotFound(error)
    ? { title: STALE_PAGE.title, explanation: `${STALE_PAGE.reason} ${STALE_PAGE.advice}`, code: out.error }
    : {
        title: 'The request failed',
        explanation: EXPLANATIONS[out.error] ?? FAULTY_REQUEST,
        code: out.error,
        description: out.error_description,
      };
  showErrorPage(ctx, ctx.status, { ...page, ...(await wayOn(deps, ctx)) });
};

/** The start page is the way on where there is no better one. */
async function wayOn(
  { query }: EnginePagesDeps,
  ctx: Parameters<Pages['renderError']>[0],
): Promise<Pick<ErrorPage, 'restartUrl' | 'restartLabel' | 'links'>> {
  const isFailure = ctx.status >= 500;
  // What was not stored can be tried again at the same address.
  if (isFailure && ctx.method === 'GET') return { restartUrl: `${ctx.path}${ctx.search}`, restartLabel: 'Try again' };
  if (ctx.path.startsWith(ROUTES.code_verification)) return { restartUrl: ROUTES.code_verification };
  if (ctx.path.startsWith(ROUTES.end_session)) return { restartUrl: ROUTES.end_session };
  // The database may be what has failed.
  if (isFailure) return {};
  const clientId = ctx.oidc?.client?.clientId;
  const client = clientId === undefined ? undefined : await findClient(query, clientId);
  return client === undefined ? {} : { links: linkToApp(client) };
}

const renderLogout: Render<'renderLogout'> = async (ctx, form) => {
  const { client } = ctx.oidc;
  showPage(ctx, 'logout', { ...form, clientName: client && clientNameOf(client) });
};

const renderSignedOut: Render<'renderSignedOut'> = async (ctx) => {
  // This page can be opened directly, and the engine also shows it to users who stay signed in.
  const session = await ctx.oidc.provider.Session.get(ctx);
  showPage(ctx, 'signed-out', { isSignedIn: session.accountId !== undefined });
};

const renderUserCode: Render<'renderUserCode'> = async (ctx, { action, xsrf, problem }) => {
  const status = problem === undefined || problem === 'aborted' ? 200 : 400;
  showPage(ctx, 'user-code', { action, xsrf, problem: problem && DEVICE_PROBLEMS[problem] }, { status });
};

const renderDeviceConfirmation: RenderWith<'renderDeviceConfirmation'> = async ({ query, logos }, ctx, page) => {
  const { action, xsrf, client, address, userCode, params } = page;
  const { accountId } = ctx.oidc.session ?? {};
  const user = accountId === undefined ? undefined : await findUser(query, accountId);
  showPage(ctx, 'device-confirm', {
    ...{ action, xsrf, userCode, address },
    ...describeApp(client, await findClient(query, client.clientId), logos.pathOf),
    username: user?.username,
    asked: await inWords(query, await namedBy(query, params), params),
  });
};

const renderDeviceDone: RenderWith<'renderDeviceDone'> = async ({ query }, ctx) => {
  const { client, session } = ctx.oidc;
  const user = await findUser(query, session?.accountId ?? '');
  showPage(ctx, 'device-done', { clientName: client && clientNameOf(client), username: user?.username });
};

const renderTooManyGuesses: Render<'renderTooManyGuesses'> = (ctx, retryAfterSeconds) => {
  ctx.set('Retry-After', String(retryAfterSeconds));
  const explanation = `Try again in ${Math.ceil(retryAfterSeconds / 60)} minutes.`;
  showErrorPage(ctx, 429, {
    title: 'Too many wrong codes',
    explanation,
    code: 'slow_down',
    restartUrl: ROUTES.code_verification,
  });
};

const renderFormPost: Render<'renderFormPost'> = (ctx, form) => {
  showPage(ctx, 'form-post', { ...form }, { status: ctx.status, submitsItself: true });
};
