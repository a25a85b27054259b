// Where a person can go from a page at which nothing else goes on. Pages without another link lead
// to the start page (views/parts/ways-on.eta), which lists the apps of the browser's session.

import type { Context } from 'koa';
import { isSelfRegistered } from '../clients/client.ts';
import type { CachedClient } from '../clients/lookup.ts';
import type { Engine } from '../provider/engine.ts';
import { asEngineContext } from '../provider/engine-internals.ts';
import { clientNameOf } from './pages.ts';

export interface Link {
  readonly href: string;
  readonly label: string;
}

/** The page of an app that an operator has registered. */
export function linkToApp(client: Pick<CachedClient, 'clientId' | 'metadata' | 'registeredBy' | 'isDisabled'>): Link[] {
  const { client_uri: href, client_name: clientName } = client.metadata;
  if (href === undefined || client.isDisabled || isSelfRegistered(client)) return [];
  return [{ href, label: `Go to ${clientNameOf({ clientId: client.clientId, clientName })}` }];
}

const MOST_APPS = 10;

/** What the session of this browser knows. @returns undefined without a user who is signed in */
export async function appsOfBrowser(
  { provider, directory }: Engine,
  ctx: Context,
): Promise<readonly Link[] | undefined> {
  const { accountId, authorizations = {} } = await provider.Session.get(asEngineContext(ctx));
  if (accountId === undefined) return undefined;
  const clients = await Promise.all(
    Object.keys(authorizations)
      .slice(0, MOST_APPS)
      .map((clientId) => directory.findClient(clientId)),
  );
  return clients.flatMap((client) => (client === undefined ? [] : linkToApp(client)));
}
