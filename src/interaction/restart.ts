// Where a person can begin again whose login or consent page is no longer valid.

import type { Context } from 'koa';
import type { Engine } from '../provider/engine.ts';
import { ROUTES } from '../provider/routes.ts';
import { linksOf } from './client-links.ts';

/**
 * The browser that began this login may repeat its request, if that went through the browser: a
 * pushed one (RFC 9126) would be refused. Another browser, which was only given the address, is
 * sent to the app to begin a login of its own: the request of the first browser holds that one's
 * state and code challenge.
 * @returns undefined if the interaction is gone, or its app has no page to begin at, or is not verified
 */
export async function restartUrl(
  { provider, directory }: Engine,
  issuer: string,
  ctx: Context,
  uid: string,
): Promise<string | undefined> {
  const interaction = await provider.Interaction.find(uid);
  if (interaction === undefined) return undefined;
  const cookies = provider.createContext(ctx.req, ctx.res).cookies;
  const cookie = cookies.get(provider.cookieName('interaction'), { signed: true });
  const { deviceCode } = interaction;
  const { parJti } = interaction as { parJti?: string };
  if (cookie === uid) {
    // The device has sent the request; the person begins with the code that it shows.
    if (deviceCode !== undefined) return ROUTES.code_verification;
    if (parJti === undefined) return `${ROUTES.authorization}?${toQuery(interaction.params)}`;
  }
  const client = await provider.Client.find(String(interaction.params.client_id));
  if (client === undefined) return undefined;
  const { initiateLoginUri, clientUri } = linksOf(client, await directory.findClient(client.clientId));
  if (initiateLoginUri === undefined) return clientUri;
  // OpenID Connect Core §4: third-party initiated login. The address may have a query of its own.
  const url = new URL(initiateLoginUri);
  url.searchParams.append('iss', issuer);
  return url.href;
}

/** A parameter with several values (resource) is repeated. */
function toQuery(params: Readonly<Record<string, unknown>>): URLSearchParams {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const single of Array.isArray(value) ? value : [value]) {
      if (single !== undefined) query.append(name, String(single));
    }
  }
  return query;
}
