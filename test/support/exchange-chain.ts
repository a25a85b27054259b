// Chains of token exchange (RFC 8693): three APIs in a row, each with the client that it
// introspects and exchanges with, and an app in front to which the token of the user was issued.

import { type Answer, postForm, type TestClient } from './admin.ts';
import { obtainTokens } from './oauth.ts';
import type { TestServer } from './server.ts';

export const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
export const JWT = 'urn:ietf:params:oauth:token-type:jwt';

export interface Chain {
  /** the APIs of svc-a, svc-b and svc-c */
  readonly apis: readonly [string, string, string];
  readonly services: readonly [TestClient, TestClient, TestClient];
}

export type ExchangeChains = ReturnType<typeof exchangeChains>;

/** @param server and app exist when the first test begins */
export function exchangeChains(server: () => TestServer, app: () => TestClient) {
  let count = 0;

  async function buildChain(
    format: 'jwt' | 'opaque',
    delegation: object = { max_depth: 3, allowed_clients: null },
  ): Promise<Chain> {
    const { admin } = server();
    count += 1;
    const services = [];
    const apis = [];
    for (const name of ['a', 'b', 'c']) {
      const identifier = `https://${name}${count}.example`;
      const service = await admin.createClient({
        grant_types: ['client_credentials', EXCHANGE],
        client_name: `svc-${name}`,
      });
      await admin.createApi(identifier, {
        scopes: ['read', 'write'],
        access_token_format: format,
        introspection_client_id: service.clientId,
        delegation,
      });
      services.push(service);
      apis.push(identifier);
    }
    const [a, b, c] = apis as [string, string, string];
    const [svcA, svcB] = services as [TestClient, TestClient, TestClient];
    await admin.allow(app().clientId, a, ['read', 'write']);
    await allowExchange(svcA, b);
    await allowExchange(svcB, c);
    return { apis: [a, b, c], services: services as never };
  }

  function allowExchange(client: TestClient, api: string, scopes = ['read', 'write']): Promise<Answer> {
    const path = `/resource-servers/${encodeURIComponent(api)}/clients/${client.clientId}`;
    return server().admin.request('PUT', path, { scopes, token_exchange: true });
  }

  function exchange(
    client: TestClient,
    subjectToken: string,
    form: Record<string, string> = {},
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const all = {
      grant_type: EXCHANGE,
      subject_token: subjectToken,
      subject_token_type: ACCESS_TOKEN,
      ...form,
    };
    return postForm(`${server().issuer}/oauth2/token`, client, all, headers);
  }

  async function userToken(chain: Chain, scope = 'openid read write'): Promise<string> {
    return (await obtainTokens(server(), app(), { scope, resource: chain.apis[0] })).accessToken;
  }

  async function exchanged(client: TestClient, subjectToken: string, form: Record<string, string>): Promise<string> {
    const { status, body } = await exchange(client, subjectToken, form);
    if (status !== 200) throw new Error(JSON.stringify(body));
    return body.access_token as string;
  }

  /** The tokens of the three exchanges. */
  async function walk(chain: Chain): Promise<[string, string, string]> {
    const first = await userToken(chain);
    const second = await exchanged(chain.services[0], first, { resource: chain.apis[1] });
    const third = await exchanged(chain.services[1], second, { audience: chain.apis[2], scope: 'read' });
    return [first, second, third];
  }

  return { buildChain, allowExchange, exchange, userToken, exchanged, walk };
}
