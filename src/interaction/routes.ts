// /interaction/:uid: the pages between the authorization request and its answer. The engine knows which page is due; each
// POST here ends in a redirect back to it. A request whose cookie does not fit the page (a stale tab, another browser, another
// site) gets a clear page and a link that starts anew, never somebody else's login.

import Router from '@koa/router';
import type { Context } from 'koa';
import { recordAudit } from '../audit/audit.ts';
import { isSelfRegistered } from '../clients/client.ts';
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
import { formTargets } from '../provider/http/form-post.ts';
import type { PasswordCheck } from '../users/password.ts';
import { findUser } from '../users/store.ts';
import type { LoginThrottle } from '../users/throttle.ts';
import { allow, describeRequest } from './consent.ts';
import { signIn } from './login.ts';
import { showPage } from './pages.ts';
import { restartUrl } from './restart.ts';

export interface InteractionDeps {
  readonly database: Database;
  readonly engine: Engine;
  readonly issuer: string;
  readonly passwordCheck: PasswordCheck;
  readonly throttle: LoginThrottle;
  readonly metrics: Pick<Metrics, 'loginAttempted'>;
  readonly log: Log;
}

export function interactionRoutes(deps: InteractionDeps): Router {
  const { database, engine, log } = deps;
  const router = new Router({ prefix: '/interaction/:uid' });

  router.use(async (ctx, next) => {
    try {
      assertOwnForm(ctx);
      await next();
    } catch (error) {
      if (error instanceof StaleInteractionError || isSessionNotFound(error)) await showStale(ctx);
      else showError(ctx, toAppError(error, ctx, log));
    }
  });

  router.get('/', async (ctx) => {
    const interaction = await current(ctx);
    if (LOGIN_PROMPTS.includes(interaction.prompt.name)) await showLogin(ctx, interaction);
    else await showConsent(ctx, interaction);
  });

  // After a wrong password the address bar shows the address of the form. Who opens that wants the page.
  for (const form of ['login', 'consent', 'cancel']) {
    router.get(`/${form}`, (ctx) => ctx.redirect(`/interaction/${encodeURIComponent(String(ctx.params.uid))}`));
  }

  router.post('/login', async (ctx) => {
    const interaction = await current(ctx);
    assertPrompt(interaction, LOGIN_PROMPTS);
    const { username = '', password = '' } = await readForm(ctx);
    const clientId = String(interaction.params.client_id);
    const result = await signIn(
      { query: database.query, passwordCheck: deps.passwordCheck, throttle: deps.throttle },
      { username, password, address: ctx.ip, clientId, requestId: requestId(ctx) },
    );
    deps.metrics.loginAttempted(result.outcome);
    if (result.outcome === 'signed in') {
      const login = { accountId: result.accountId, acr: PASSWORD_ACR, amr: ['pwd'] };
      await finish(ctx, { login, select_account: {} }, { mergeWithLastSubmission: false });
    } else if (result.outcome === 'throttled') {
      ctx.set('Retry-After', String(result.retryAfterSeconds));
      const minutes = Math.ceil(result.retryAfterSeconds / 60);
      const fault = `Too many attempts. Try again in ${minutes === 1 ? 'a minute' : `${minutes} minutes`}.`;
      await showLogin(ctx, interaction, { status: 429, fault, username });
    } else {
      await showLogin(ctx, interaction, { status: 403, fault: 'Username or password is wrong.', username });
    }
  });

  router.post('/consent', async (ctx) => {
    const interaction = await current(ctx);
    assertPrompt(interaction, ['consent']);
    await readForm(ctx);
    const grantId = await allow({ database, engine }, interaction, requestId(ctx));
    await finish(ctx, { consent: { grantId } }, { mergeWithLastSubmission: true });
  });

  router.post('/cancel', async (ctx) => {
    const interaction = await current(ctx);
    await readForm(ctx);
    const accountId = interaction.session?.accountId;
    await recordAudit(database.query, {
      type: 'consent.denied',
      actor: accountId === undefined ? 'system' : `user:${accountId}`,
      accountId,
      clientId: String(interaction.params.client_id),
      requestId: requestId(ctx),
      detail: { page: interaction.prompt.name },
    });
    // RFC 6749 §4.1.2.1
    const refusal = { error: 'access_denied', error_description: 'the user cancelled' };
    await finish(ctx, refusal, { mergeWithLastSubmission: false });
  });

  /** The interaction of this browser, which must be the one that the address names. */
  async function current(ctx: Context): Promise<Interaction> {
    const interaction = await engine.provider.interactionDetails(ctx.req, ctx.res);
    if (interaction.uid !== ctx.params.uid) throw new StaleInteractionError();
    return interaction;
  }

  async function finish(
    ctx: Context,
    result: Parameters<Engine['provider']['interactionFinished']>[2],
    options: { mergeWithLastSubmission: boolean },
  ): Promise<void> {
    const returnTo = await engine.provider.interactionResult(ctx.req, ctx.res, result, options);
    ctx.status = 303;
    ctx.redirect(returnTo);
  }

  async function clientOf(interaction: Interaction) {
    const client = await engine.provider.Client.find(String(interaction.params.client_id));
    if (client === undefined) throw new AppError('conflict', 'The app is not registered here any more.');
    return client;
  }

  async function showLogin(
    ctx: Context,
    interaction: Interaction,
    again: { status?: number; fault?: string; username?: string } = {},
  ): Promise<void> {
    const client = await clientOf(interaction);
    const hint = interaction.params.login_hint;
    showPage(
      ctx,
      'login',
      {
        uid: interaction.uid,
        clientName: client.clientName || client.clientId,
        username: again.username ?? (typeof hint === 'string' ? hint : ''),
        fault: again.fault,
      },
      { status: again.status ?? 200, formTargets: formTargets(client, interaction.params.redirect_uri) },
    );
  }

  async function showConsent(ctx: Context, interaction: Interaction): Promise<void> {
    const client = await clientOf(interaction);
    const user = await findUser(database.query, interaction.session?.accountId ?? '');
    const redirectUri = URL.parse(String(interaction.params.redirect_uri));
    showPage(
      ctx,
      'consent',
      {
        uid: interaction.uid,
        clientName: client.clientName || client.clientId,
        username: user?.username ?? '',
        ...(await describeRequest({ query: database.query, engine }, interaction)),
        returnsTo: redirectUri?.host || redirectUri?.protocol,
        unverifiedHost: await unverifiedHost(client.clientId, redirectUri),
        policyUri: client.policyUri,
        tosUri: client.tosUri,
      },
      { formTargets: formTargets(client, interaction.params.redirect_uri) },
    );
  }

  /** What an app that nobody here has looked at can be known by; its name is whatever it says. */
  async function unverifiedHost(clientId: string, redirectUri: URL | null): Promise<string | undefined> {
    const known = await engine.directory.findClient(clientId);
    if (known === undefined || !isSelfRegistered(known)) return undefined;
    return URL.parse(clientId)?.host ?? redirectUri?.host ?? 'an unknown place';
  }

  async function showStale(ctx: Context): Promise<void> {
    const url = await restartUrl(engine, deps.issuer, ctx, String(ctx.params.uid));
    const data = {
      title: 'This page is not current any more',
      explanation:
        url === undefined
          ? 'It was opened in another window, or too long ago. Go back to the app and sign in from there.'
          : 'It was opened in another window, or too long ago.',
      restartUrl: url,
      code: 'interaction_not_found',
      requestId: requestId(ctx),
    };
    showPage(ctx, 'error', data, { status: 400 });
  }

  function showError(ctx: Context, error: AppError): void {
    if (error.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(error.retryAfterSeconds));
    const data = { title: error.title, explanation: error.detail, code: error.code, requestId: requestId(ctx) };
    showPage(ctx, 'error', data, { status: error.status });
  }

  /**
   * Our forms are sent by our pages only. The cookie is SameSite=Lax already; this stops what comes from a neighbour under
   * the same site too.
   */
  function assertOwnForm(ctx: Context): void {
    if (ctx.method !== 'POST') return;
    const site = ctx.get('Sec-Fetch-Site');
    const origin = ctx.get('Origin');
    const isForeign = site === '' ? origin !== '' && origin !== deps.issuer : site !== 'same-origin';
    if (isForeign) throw new AppError('foreign_origin', 'Open the page again and send the form from there.');
  }

  return router;
}

class StaleInteractionError extends Error {}

function assertPrompt(interaction: Interaction, names: readonly string[]): void {
  if (!names.includes(interaction.prompt.name)) throw new StaleInteractionError();
}
