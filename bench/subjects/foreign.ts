// Another authorization server that runs already: no setup, and no measurement of its processes.
// Its endpoints are from its metadata (RFC 8414, or else OpenID Connect Discovery).

import type { ClientLogin } from '../fixtures.ts';
import { expectJson, send } from '../load/http.ts';
import type { Subject } from './subject.ts';

export async function findForeign(issuer: string, client: ClientLogin): Promise<Subject> {
  const metadata = await discover(issuer);
  const path = (member: string, usual: string) => {
    const { pathname, search, origin } = new URL(String(metadata[member] ?? usual), issuer);
    if (origin !== new URL(issuer).origin) throw new Error(`${member} is at another origin: ${origin}`);
    return pathname + search;
  };
  return {
    name: 'foreign',
    url: new URL(issuer).origin,
    paths: {
      token: path('token_endpoint', '/oauth2/token'),
      introspection: path('introspection_endpoint', '/oauth2/introspect'),
    },
    fixtures: { service: client, api: client, app: client, web: client },
    processes: undefined,
    admin: undefined,
  };
}

async function discover(issuer: string): Promise<Record<string, unknown>> {
  const { origin, pathname } = new URL(issuer);
  const own = pathname === '/' ? '' : pathname;
  const places = [
    `${origin}/.well-known/oauth-authorization-server${own}`,
    `${issuer}/.well-known/openid-configuration`,
  ];
  for (const place of places) {
    const found = await expectJson(200, send('GET', place)).catch(() => undefined);
    if (found !== undefined) return found;
  }
  throw new Error(`${issuer} publishes no metadata`);
}
