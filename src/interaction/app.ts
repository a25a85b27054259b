// The app that a page is about, as users see it: its name, who vouches for it, its pages and logo.

import { isSelfRegistered } from '../clients/client.ts';
import { type ClientLinks, type LinkedClient, linksOf } from './client-links.ts';
import { clientNameOf } from './pages.ts';

export interface ShownApp extends Omit<ClientLinks, 'initiateLoginUri'> {
  readonly clientName: string;
  /** of software that no operator has registered; it chose its name itself */
  readonly unverifiedHost: string | undefined;
  /** path on this server; see logos.ts */
  readonly logo: string | undefined;
}

interface AppMetadata extends LinkedClient {
  readonly clientName?: string | undefined;
  readonly logoUri?: string | undefined;
}

/**
 * @param known the row of the client; software without one counts as not verified
 * @param redirectUri of the request, if it has one
 */
export function describeApp(
  client: AppMetadata,
  known: { readonly registeredBy: string } | undefined,
  logoPath: (client: AppMetadata) => string | undefined,
  redirectUri?: URL | null,
): ShownApp {
  const isVerified = known !== undefined && !isSelfRegistered(known);
  const { clientUri, policyUri, tosUri } = linksOf(client, known);
  return {
    clientName: clientNameOf(client),
    clientUri,
    policyUri,
    tosUri,
    unverifiedHost: isVerified ? undefined : URL.parse(client.clientId)?.host || redirectUri?.host || 'an unknown host',
    logo: isVerified ? logoPath(client) : undefined,
  };
}
