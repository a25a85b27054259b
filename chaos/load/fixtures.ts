// Who acts under load: a service that gets tokens for itself, and an app that signs users in. Nothing of
// theirs is taken away by an operator, so that each refusal is a breach.

import type { TestClient } from '../../test/support/admin.ts';
import { CODE_FLOW, PUBLIC } from '../../test/support/oauth.ts';
import type { Admin } from '../admin.ts';
import { allow, createApi, createClient, createUser, type Scene, type User } from '../changes/scene.ts';

const USERS = 6;

export interface Fixtures {
  readonly service: TestClient;
  /** public clients, whose refresh tokens are rotated at each use; the second may reuse one within the grace */
  readonly apps: readonly TestClient[];
  readonly apis: { readonly jwt: string; readonly opaque: string };
  readonly users: readonly User[];
}

export async function createFixtures(admin: Admin): Promise<Fixtures> {
  const apis = { jwt: 'https://jwt.example', opaque: 'https://opaque.example' };
  const service = await createClient(admin, { grant_types: ['client_credentials'] });
  const apps = [
    await createClient(admin, { ...CODE_FLOW, ...PUBLIC }),
    await createClient(admin, { ...CODE_FLOW, ...PUBLIC, refresh_token_reuse_in_grace: true }),
  ];
  for (const format of ['jwt', 'opaque'] as const) {
    const api: Pick<Scene, 'identifier' | 'format' | 'api'> = { identifier: apis[format], format, api: service };
    await createApi(admin, api);
    for (const client of [service, ...apps]) await allow(admin, { ...api, app: client });
  }
  const names = Array.from({ length: USERS }, (_, index) => `member-${index}.example`);
  return { service, apps, apis, users: await Promise.all(names.map((name) => createUser(admin, name))) };
}
