// Client ID metadata documents (draft-ietf-oauth-client-id-metadata-document-02): which addresses may describe a client, and what such
// a client may be. The engine fetches (through our outbound guard, 5 KB at most), checks that the document names its own
// address and no shared secret, and remembers it for as long as its headers say, within bounds.

import type { Client, Configuration } from 'oidc-provider';

/** What software may be that nobody here has looked at. */
const GRANT_TYPES = ['authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'];
/** Shorter than the column and the fields that carry client ids. */
const MAX_LENGTH = 255;

/** Configuration `features.clientIdMetadataDocument`. @param hosts with or without port; `*`: any */
export function metadataDocuments(
  hosts: readonly string[],
): NonNullable<NonNullable<Configuration['features']>['clientIdMetadataDocument']> {
  const isAllowed = (clientId: string) => {
    const url = URL.parse(clientId);
    if (url === null || clientId.length > MAX_LENGTH) return false;
    return hosts.includes('*') || hosts.includes(url.hostname) || hosts.includes(url.host);
  };
  return {
    enabled: hosts.length > 0,
    ack: 'draft-02',
    // A minute at least, so that no request makes us fetch at will; a day at most, so that a change counts.
    cacheDuration: { min: 60, max: 86_400 },
    allowFetch: async (_ctx, clientId) => isAllowed(clientId),
    allowClient: async (_ctx, client) => isAcceptable(client),
  };
}

function isAcceptable(client: Client & { require_pkce?: boolean }): boolean {
  return client.require_pkce !== false && (client.grantTypes ?? []).every((name) => GRANT_TYPES.includes(name));
}
