// /interaction/:uid: the pages between the authorization request and its answer. This folder owns
// login, consent and the other pages that people see; the engine decides which page is due, and
// each POST here ends in a redirect back to it. A request whose cookie does not belong to the page
// (an old tab, another browser, another site) gets an error page with a link to a new login.

import Router from '@koa/router';
import type { Context, Next } from 'koa';
import type { CountedEvents } from '../audit/counted-events.ts';
import type { Database } from '../database/database.ts';
import { AppError } from '../errors.ts';
import { readForm } from '../http/body.ts';
import { toAppError } from '../http/problem.ts';
import { requestId } from '../http/request-log.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { LOGIN_PROMPTS, PASSWORD_ACR } from '../provider/configuration/login-policy.ts';
import type { Engine, Interaction } from '../provider/engine.ts';
import { isSessionNotFound } from '../provider/engine-internals.ts';
import type { PasswordCheck } from '../users/password.ts';
import type { LoginThrottle } from '../users/throttle.ts';
import { allow, isConfirmed } from './consent.ts';
import { showConsent, showError, showLogin, showStale } from './interaction-pages.ts';
import { signIn } from './login.ts';
import type { Logos } from './logos.ts';

export interface InteractionDeps {
  readonly database: Database;
  readonly engine: Engine;
  readonly issuer: string;
  readonly passwordCheck: PasswordCheck;
  readonly throttle: LoginThrottle;
  readonly countedEvents: Pick<CountedEvents, 'count'>;
  readonly metrics: Pick<Metrics, 'loginAttempted'>;
  readonly logos: Pick<Logos, 'pathOf'>;
  readonly log: Log;
}

export function interactionRoutes(deps: InteractionDeps): Router {
  const router = new Router({ prefix: '/interaction/:uid' });
  router.use((ctx, next) => answerWithPage(deps, ctx, next));
  router.get('/', (ctx) => getPage(deps, ctx));
  // After a wrong password the address bar shows the address of the form; opening that leads to the
  // page.
  for (const form of ['login', 'consent', 'cancel']) {
    router.get(`/${form}`, (ctx) => ctx.redirect(`/interaction/${encodeURIComponent(String(ctx.params.uid))}`));
  }
  router.post('/login', (ctx) => postLogin(deps, ctx));
  router.post('/consent', (ctx) => postConsent(deps, ctx));
  router.post('/cancel', (ctx) => postCancel(deps, ctx));
  return router;
}

async function answerWithPage(deps: InteractionDeps, ctx: Context, next: Next): Promise<void> {
  try {
    assertOwnForm(deps, ctx);
    // What a form stores is committed before the answer is sent.
    const { commit } = await deps.engine.unitOfWork.collect(requestId(ctx), next);
    await commit();
  } catch (error) {
    ctx.remove('Location');
    if (error instanceof StaleInteractionError || isSessionNotFound(error)) await showStale(deps, ctx);
    else showError(ctx, toAppError(error, ctx, deps.log));
  }
}

async function getPage(deps: InteractionDeps, ctx: Context): Promise<void> {
  const interaction = await currentInteraction(deps, ctx);
  if (LOGIN_PROMPTS.includes(interaction.prompt.name)) await showLogin(deps, ctx, interaction);
  else if (await isConfirmed(deps.database.query, interaction)) await finishConsent(deps, ctx, interaction);
  else await showConsent(deps, ctx, interaction);
}

async function postLogin(deps: InteractionDeps, ctx: Context): Promise<void> {
  const interaction = await currentInteraction(deps, ctx);
  assertPrompt(interaction, LOGIN_PROMPTS);
  const { username = '', password = '' } = await readForm(ctx);
  const clientId = String(interaction.params.client_id);
  const result = await signIn(
    { ...deps, query: deps.database.query, record: deps.engine.unitOfWork.record },
    { username, password, address: ctx.ip, clientId, requestId: requestId(ctx) },
  );
  deps.engine.unitOfWork.afterwards(() => deps.metrics.loginAttempted(result.outcome));
  if (result.outcome === 'signed in') {
    // When the password was checked: one that was changed since then ends the session (not-before).
    const ts = Math.floor(ctx.state.judgedAt);
    const login = { accountId: result.accountId, acr: PASSWORD_ACR, amr: ['pwd'], ts };
    await finish(deps, ctx, { login, select_account: {} }, { mergeWithLastSubmission: false });
  } else if (result.outcome === 'throttled') {
    ctx.set('Retry-After', String(result.retryAfterSeconds));
    const minutes = Math.ceil(result.retryAfterSeconds / 60);
    const fault = `Too many attempts. Try again in ${minutes === 1 ? 'a minute' : `${minutes} minutes`}.`;
    await showLogin(deps, ctx, interaction, { status: 429, fault, username });
  } else {
    await showLogin(deps, ctx, interaction, { status: 403, fault: 'Username or password is wrong.', username });
  }
}

async function postConsent(deps: InteractionDeps, ctx: Context): Promise<void> {
  const interaction = await currentInteraction(deps, ctx);
  assertPrompt(interaction, ['consent']);
  await readForm(ctx);
  await finishConsent(deps, ctx, interaction);
}

async function finishConsent(deps: InteractionDeps, ctx: Context, interaction: Interaction): Promise<void> {
  const grantId = await allow(deps, interaction, { requestId: requestId(ctx), judgedAt: ctx.state.judgedAt });
  await finish(deps, ctx, { consent: { grantId } }, { mergeWithLastSubmission: true });
}

async function postCancel(deps: InteractionDeps, ctx: Context): Promise<void> {
  const interaction = await currentInteraction(deps, ctx);
  await readForm(ctx);
  const accountId = interaction.session?.accountId;
  // Once: the form can be sent again as long as the browser does not go on.
  if (interaction.result?.error === undefined) {
    deps.engine.unitOfWork.record({
      type: 'consent.denied',
      actor: accountId === undefined ? 'system' : `user:${accountId}`,
      accountId,
      clientId: String(interaction.params.client_id),
      detail: { page: interaction.prompt.name },
    });
  }
  // RFC 6749 §4.1.2.1
  const refusal = { error: 'access_denied', error_description: 'the user cancelled' };
  await finish(deps, ctx, refusal, { mergeWithLastSubmission: false });
}

/** The interaction of this browser, which must be the one in the path. */
async function currentInteraction({ engine }: InteractionDeps, ctx: Context): Promise<Interaction> {
  const interaction = await engine.provider.interactionDetails(ctx.req, ctx.res);
  if (interaction.uid !== ctx.params.uid) throw new StaleInteractionError();
  return interaction;
}

type InteractionResult = Parameters<Engine['provider']['interactionFinished']>[2];

async function finish(
  { engine }: InteractionDeps,
  ctx: Context,
  result: InteractionResult,
  options: { mergeWithLastSubmission: boolean },
): Promise<void> {
  const returnTo = await engine.provider.interactionResult(ctx.req, ctx.res, result, options);
  ctx.status = 303;
  ctx.redirect(returnTo);
}

/** Only our pages may send our forms; SameSite=Lax does not stop other origins of the same site. */
function assertOwnForm({ issuer }: InteractionDeps, ctx: Context): void {
  if (ctx.method !== 'POST') return;
  const site = ctx.get('Sec-Fetch-Site');
  const origin = ctx.get('Origin');
  const isForeign = site === '' ? origin !== '' && origin !== issuer : site !== 'same-origin';
  if (isForeign) throw new AppError('foreign_origin', 'Open the page again and send the form from there.');
}

/** The form is not that of the page on which this login is. */
class StaleInteractionError extends Error {}

function assertPrompt(interaction: Interaction, names: readonly string[]): void {
  if (!names.includes(interaction.prompt.name)) throw new StaleInteractionError();
}
