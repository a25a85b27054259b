// Where forms lead. The engine sometimes answers with a page that submits a form by itself (logout
// without a session, a change of user in the middle of a login, response_mode=form_post). It is
// shown as a page of ours, whose Content-Security-Policy names every origin that the form leads to,
// along all redirects.

import type { Middleware } from 'koa';
import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import { asEngineContext, readFormPostPage } from '../engine-internals.ts';
import type { FormPostPage } from '../engine-types.ts';

export interface FormPost extends FormPostPage {
  /** see formTargets */
  readonly targets: readonly string[];
}

export function formPostPages(show: (ctx: KoaContextWithOIDC, form: FormPost) => void): Middleware {
  return async (koaContext, next) => {
    await next();
    const form = readFormPostPage(koaContext.body);
    if (form === undefined) return;
    const ctx = asEngineContext(koaContext);
    const { Interaction: interaction, Client: client } = ctx.oidc.entities;
    // A change of user: the old session ends, the interaction goes on, and may end at the app
    // without another page.
    const clientId = interaction?.params.client_id;
    const targets = formTargets(
      client ?? (typeof clientId === 'string' ? await ctx.oidc.provider.Client.find(clientId) : undefined),
      form.action.replaceAll('&amp;', '&'),
      ctx.oidc.session?.state?.postLogoutRedirectUri,
      interaction?.params.redirect_uri,
    );
    show(ctx, { ...form, targets });
  };
}

/**
 * Where the form of a page may lead besides this server, as sources of CSP `form-action`. Browsers
 * check it along all redirects that follow the form. A client's callback often redirects once more,
 * to its own front end, which is its `client_uri`.
 */
export function formTargets(client: Pick<Client, 'clientUri'> | undefined, ...uris: unknown[]): string[] {
  return [...new Set([...uris, client?.clientUri].flatMap((uri) => cspSource(uri) ?? []))];
}

/**
 * A private-use scheme (RFC 8252 §7.1), and a host that CSP has no syntax for (IPv6), are named by
 * their scheme.
 */
function cspSource(uri: unknown): string | undefined {
  const url = typeof uri === 'string' ? URL.parse(uri) : null;
  if (url === null) return undefined;
  const isWeb = url.protocol === 'http:' || url.protocol === 'https:';
  return isWeb && /^[a-z0-9.-]+$/.test(url.hostname) ? url.origin : url.protocol;
}
