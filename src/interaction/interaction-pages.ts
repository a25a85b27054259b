// The pages of an interaction: login, consent, and what is shown when a request cannot be answered
// with either.

import type { Context } from 'koa';
import type { Database } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Engine, Interaction } from '../provider/engine.ts';
import { findUser } from '../users/store.ts';
import { describeApp, type ShownApp } from './app.ts';
import { allowedBefore, inWords, missingOf } from './asked.ts';
import type { Logos } from './logos.ts';
import { STALE_PAGE, showErrorPage, showPage } from './pages.ts';
import { restartUrl } from './restart.ts';
import { appsOfBrowser } from './ways-on.ts';

export interface InteractionPagesDeps {
  readonly database: Database;
  readonly engine: Engine;
  readonly issuer: string;
  readonly logos: Pick<Logos, 'pathOf'>;
}

/** @param again after a failed attempt: what to show and to fill in */
export async function showLogin(
  deps: InteractionPagesDeps,
  ctx: Context,
  interaction: Interaction,
  again: { status?: number; fault?: string; username?: string } = {},
): Promise<void> {
  const hint = interaction.params.login_hint;
  const data = {
    uid: interaction.uid,
    ...(await appOf(deps, interaction)),
    username: again.username ?? (typeof hint === 'string' ? hint : ''),
    fault: again.fault,
  };
  showPage(ctx, 'login', data, { status: again.status ?? 200 });
}

export async function showConsent(deps: InteractionPagesDeps, ctx: Context, interaction: Interaction): Promise<void> {
  const { query } = deps.database;
  const { params } = interaction;
  const user = await findUser(query, interaction.session?.accountId ?? '');
  const redirectUri = URL.parse(String(params.redirect_uri));
  const before = await inWords(query, await allowedBefore(deps.engine, interaction), params);
  showPage(ctx, 'consent', {
    uid: interaction.uid,
    ...(await appOf(deps, interaction)),
    username: user?.username ?? '',
    asked: await inWords(query, missingOf(interaction), params),
    allowedBefore: before.isNothing ? undefined : before,
    returnsTo: redirectUri?.host || redirectUri?.protocol,
  });
}

async function appOf({ engine, logos }: InteractionPagesDeps, { params }: Interaction): Promise<ShownApp> {
  const client = await engine.provider.Client.find(String(params.client_id));
  if (client === undefined) throw new AppError('conflict', 'The app is no longer registered.');
  const known = await engine.directory.findClient(client.clientId);
  return describeApp(client, known, logos.pathOf, URL.parse(String(params.redirect_uri)));
}

/** The page does not belong to the login that this browser is in. */
export async function showStale(deps: InteractionPagesDeps, ctx: Context): Promise<void> {
  const url = await restartUrl(deps.engine, deps.issuer, ctx, String(ctx.params.uid));
  const links = url === undefined ? await appsOfBrowser(deps.engine, ctx) : [];
  const explanation = url === undefined ? `${STALE_PAGE.reason} ${STALE_PAGE.advice}` : STALE_PAGE.reason;
  const { title } = STALE_PAGE;
  showErrorPage(ctx, 400, { title, explanation, restartUrl: url, links, code: 'interaction_not_found' });
}

export function showError(ctx: Context, error: AppError): void {
  if (error.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(error.retryAfterSeconds));
  const pageUrl = `/interaction/${encodeURIComponent(String(ctx.params.uid))}`;
  showErrorPage(ctx, error.status, {
    title: error.title,
    explanation: error.detail,
    code: error.code,
    ...(ctx.method === 'GET' && error.status < 500 ? {} : { restartUrl: pageUrl, restartLabel: 'Try again' }),
  });
}
