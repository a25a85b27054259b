// Minimal login and consent pages for the bare engine, which accept every user and consent to all.
// Paths and order are those of Lanyard's pages.

import type { IncomingMessage, ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import type Provider from 'oidc-provider';

export async function answerInteraction(provider: Provider, request: IncomingMessage, response: ServerResponse) {
  try {
    const body = request.method === 'POST' ? new URLSearchParams(await text(request)) : undefined;
    const interaction = await provider.interactionDetails(request, response);
    const { uid, prompt } = interaction;
    if (body === undefined) {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.end(`<main id="${prompt.name}-page"><form method="post" action="/interaction/${uid}/${prompt.name}">`);
    } else if (prompt.name === 'login') {
      const result = { login: { accountId: body.get('username') ?? '', amr: ['pwd'] } };
      await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
    } else {
      const consent = { grantId: await allow(provider, interaction) };
      await provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
    }
  } catch (error) {
    response.statusCode = 500;
    response.end(String(error));
  }
}

async function allow(
  provider: Provider,
  interaction: Awaited<ReturnType<Provider['interactionDetails']>>,
): Promise<string> {
  const details = interaction.prompt.details as {
    missingOIDCScope?: string[];
    missingResourceScopes?: Record<string, string[]>;
  };
  const accountId = interaction.session?.accountId as string;
  const clientId = interaction.params.client_id as string;
  const existing = interaction.grantId === undefined ? undefined : await provider.Grant.find(interaction.grantId);
  const grant = existing ?? new provider.Grant({ accountId, clientId });
  if (details.missingOIDCScope !== undefined) grant.addOIDCScope(details.missingOIDCScope.join(' '));
  for (const [resource, scopes] of Object.entries(details.missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(' '));
  }
  return grant.save();
}
