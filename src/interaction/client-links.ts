// The addresses of a client that our pages link to. People trust a link on the page of this server,
// so one that nobody has verified leads only to where the page says that the client comes from.

import { isSelfRegistered } from '../clients/client.ts';
import type { CachedClient } from '../clients/lookup.ts';

export interface ClientLinks {
  /** where a login at the client begins (OpenID Connect Core §4) */
  readonly initiateLoginUri?: string | undefined;
  readonly clientUri?: string | undefined;
  readonly policyUri?: string | undefined;
  readonly tosUri?: string | undefined;
}

export interface LinkedClient extends ClientLinks {
  readonly clientId: string;
  readonly redirectUris?: readonly string[] | undefined;
}

/** @param known the row of the client; software without one counts as not verified */
export function linksOf(client: LinkedClient, known: Pick<CachedClient, 'registeredBy'> | undefined): ClientLinks {
  const { initiateLoginUri, clientUri, policyUri, tosUri } = client;
  if (known !== undefined && !isSelfRegistered(known)) return { initiateLoginUri, clientUri, policyUri, tosUri };
  const hosts = new Set([client.clientId, ...(client.redirectUris ?? [])].map((uri) => URL.parse(uri)?.host));
  const ownHost = (uri: string | undefined) => (uri && hosts.has(URL.parse(uri)?.host) ? uri : undefined);
  // The page of a login that is over does not say that the client is not verified.
  return { policyUri: ownHost(policyUri), tosUri: ownHost(tosUri) };
}
