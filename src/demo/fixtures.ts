// What an operator registers for the demo: two apps, two APIs, one user, and the policy rows that say which app may call which
// API.

import type { Admin, ClientCredentials, Json } from './requests.ts';
import { BILLING, ORDERS } from './resource-servers.ts';
import type { Transcript } from './steps.ts';

export interface Fixtures {
  readonly appA: ClientCredentials;
  readonly appB: ClientCredentials;
  readonly ordersApi: ClientCredentials;
  readonly billingApi: ClientCredentials;
}

export const CALLBACK = 'https://shop.example/callback';
export const USER = { username: 'alice', password: 'correct horse battery' };

export async function register(transcript: Transcript, admin: Admin): Promise<Fixtures> {
  transcript.chapter('An operator registers apps, APIs and a user, and says which app may call which API');

  async function client(title: string, clientId: string, metadata: Json): Promise<ClientCredentials> {
    const created = await transcript.step(title, '201', () =>
      admin.request('POST', '/clients', { client_id: clientId, ...metadata }),
    );
    return { clientId, clientSecret: String(created.client_secret) };
  }
  const appA = await client('shop: acts for itself and for users who sign in', 'shop', {
    client_name: 'Shop',
    grant_types: ['client_credentials', 'authorization_code'],
    redirect_uris: [CALLBACK],
  });
  const appB = await client('reports: acts for itself', 'reports', {
    client_name: 'Nightly reports',
    grant_types: ['client_credentials'],
  });
  const ordersApi = await client('a client with which the API "orders" introspects', 'orders-api', { grant_types: [] });
  const billingApi = await client('the same for the API "billing"', 'billing-api', { grant_types: [] });

  await transcript.step('API "orders": its tokens are JWTs', '201', () =>
    admin.request('POST', '/resource-servers', {
      identifier: ORDERS,
      name: 'Orders',
      scopes: ['orders:read'],
      introspection_client_id: ordersApi.clientId,
    }),
  );
  await transcript.step('API "billing": its tokens are opaque', '201', () =>
    admin.request('POST', '/resource-servers', {
      identifier: BILLING,
      name: 'Billing',
      scopes: ['billing:read'],
      access_token_format: 'opaque',
      introspection_client_id: billingApi.clientId,
    }),
  );
  await transcript.step('policy: shop may call "orders"', '201', () => allow(admin, ORDERS, 'shop', 'orders:read'));
  await transcript.step('policy: reports may call "billing"', '201', () =>
    allow(admin, BILLING, 'reports', 'billing:read'),
  );
  await transcript.step('user alice', '201', () => admin.request('POST', '/users', USER));
  return { appA, appB, ordersApi, billingApi };
}

export function allow(admin: Admin, api: string, clientId: string, scope: string) {
  return admin.request('PUT', `${policyPath(api)}/${clientId}`, { scopes: [scope] });
}

export function policyPath(api: string): string {
  return `/resource-servers/${encodeURIComponent(api)}/clients`;
}
