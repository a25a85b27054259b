// The pages of an interaction: login, consent, and what is shown when a request cannot be answered
// with either.

import type { Context } from 'koa';
import { isSelfRegistered } from '../clients/client.ts';
import type { Database } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Engine, Interaction } from '../provider/engine.ts';
import { findUser } from '../users/store.ts';
import { linksOf } from './client-links.ts';
import { describeRequest } from './consent.ts';
import { clientNameOf, STALE_PAGE, showErrorPage, showPage } from './pages.ts';
import { restartUrl } from './restart.ts';

export interface InteractionPagesDeps {
  readonly database: Database;
  readonly engine: Engine;
  readonly issuer: string;
}

/** @param again after a failed attempt: what to show and to fill in */
export async function showLogin(
  deps: InteractionPagesDeps,
  ctx: Context,
  interaction: Interaction,
  again: { status?: number; fault?: string; username?: string } = {},
): Promise<void> {
  const client = await findClientOf(deps, interaction);
  const hint = interaction.params.login_hint;
  const data = {
    uid: interaction.uid,
    clientName: clientNameOf(client),
    username: again.username ?? (typeof hint === 'string' ? hint : ''),
    fault: again.fault,
  };
  showPage(ctx, 'login', data, { status: again.status ?? 200 });
}

export async function showConsent(deps: InteractionPagesDeps, ctx: Context, interaction: Interaction): Promise<void> {
  const { query } = deps.database;
  const client = await findClientOf(deps, interaction);
  const user = await findUser(query, interaction.session?.accountId ?? '');
  const redirectUri = URL.parse(String(interaction.params.redirect_uri));
  const data = {
    uid: interaction.uid,
    clientName: clientNameOf(client),
    username: user?.username ?? '',
    ...(await describeRequest({ query, engine: deps.engine }, interaction)),
    returnsTo: redirectUri?.host || redirectUri?.protocol,
    unverifiedHost: await unverifiedHost(deps, client.clientId, redirectUri),
    ...(await linksOf(deps.engine, client)),
  };
  showPage(ctx, 'consent', data);
}

async function findClientOf({ engine }: InteractionPagesDeps, interaction: Interaction) {
  const client = await engine.provider.Client.find(String(interaction.params.client_id));
  if (client === undefined) throw new AppError('conflict', 'The app is no longer registered.');
  return client;
}

/** The host of a client that no operator has registered; it chose its name itself. */
async function unverifiedHost(
  { engine }: InteractionPagesDeps,
  clientId: string,
  redirectUri: URL | null,
): Promise<string | undefined> {
  const known = await engine.directory.findClient(clientId);
  if (known === undefined || !isSelfRegistered(known)) return undefined;
  return URL.parse(clientId)?.host ?? redirectUri?.host ?? 'an unknown host';
}

/** The page does not belong to the login that this browser is in. */
export async function showStale(deps: InteractionPagesDeps, ctx: Context): Promise<void> {
  const url = await restartUrl(deps.engine, deps.issuer, ctx, String(ctx.params.uid));
  const explanation = url === undefined ? `${STALE_PAGE.reason} ${STALE_PAGE.advice}` : STALE_PAGE.reason;
  const { title } = STALE_PAGE;
  showErrorPage(ctx, 400, { title, explanation, restartUrl: url, code: 'interaction_not_found' });
}

export function showError(ctx: Context, error: AppError): void {
  if (error.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(error.retryAfterSeconds));
  showErrorPage(ctx, error.status, { title: error.title, explanation: error.detail, code: error.code });
}
