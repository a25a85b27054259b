// What one change is made to: a client, its API, a user and their tokens. No two changes share one.

import { setTimeout as sleep } from 'node:timers/promises';
import type { TestClient } from '../../test/support/admin.ts';
import { CODE_FLOW, obtainCode, REDIRECT_URI } from '../../test/support/oauth.ts';
import { createUserAgent } from '../../test/support/user-agent.ts';
import type { Admin } from '../admin.ts';
import { type Installation, reachable } from '../installation.ts';
import type { Node } from '../node.ts';
import type { Random } from '../random.ts';

export const SCOPES = ['read', 'write'];
export const CLIENT_CREDENTIALS = { grant_type: 'client_credentials' };
const GIVE_UP_AFTER_MS = 90_000;
const PAUSE_MS = 50;

export interface World {
  readonly installation: Installation;
  readonly admin: Admin;
  readonly random: Random;
}

export interface User {
  readonly id: string;
  readonly username: string;
  password: string;
}

export interface Scene {
  app: TestClient;
  /** that `app` gets with the change that is being made */
  nextApp: TestClient | undefined;
  readonly api: TestClient;
  readonly identifier: string;
  readonly format: 'jwt' | 'opaque';
  readonly user: User;
  /** of the app itself */
  token: string;
  /** of the user; undefined when they must sign in before it is used */
  userTokens: { readonly accessToken: string; readonly refreshToken: string } | undefined;
}

export async function createClient(admin: Admin, metadata: object): Promise<TestClient> {
  const { body } = await admin.send('POST', '/clients', metadata, 'client.created');
  return { clientId: String(body.client_id), clientSecret: String(body.client_secret ?? '') };
}

const APP = { ...CODE_FLOW, grant_types: [...CODE_FLOW.grant_types, 'client_credentials'] };
export const createApp = (admin: Admin) => createClient(admin, APP);

export const apiPath = ({ identifier }: Pick<Scene, 'identifier'>) =>
  `/resource-servers/${encodeURIComponent(identifier)}`;

export function allow(admin: Admin, scene: Pick<Scene, 'identifier' | 'app'>, scopes = SCOPES) {
  return admin.send('PUT', `${apiPath(scene)}/clients/${scene.app.clientId}`, { scopes }, 'client_grant.set');
}

export function createApi(admin: Admin, { identifier, format, api }: Pick<Scene, 'identifier' | 'format' | 'api'>) {
  const members = { scopes: SCOPES, access_token_format: format, introspection_client_id: api.clientId };
  return admin.send('POST', '/resource-servers', { identifier, ...members }, 'resource_server.created');
}

export async function createUser(admin: Admin, username: string): Promise<User> {
  const password = 'a password of some length';
  await admin.send('POST', '/users', { username, password }, 'user.created');
  // A request that was sent again brings no id.
  const { body } = await admin.send('GET', `/users?q=${encodeURIComponent(username)}`);
  const user = (body.items as { id: string; username: string }[]).find((one) => one.username === username);
  return { id: String(user?.id), username, password };
}

let count = 0;

export async function createScene(world: World): Promise<Scene> {
  const { admin } = world;
  const number = ++count;
  const api = await createClient(admin, { grant_types: ['client_credentials'] });
  const format = number % 2 === 1 ? 'jwt' : 'opaque';
  const identifier = `https://api-${number}.example`;
  const app = await createApp(admin);
  await createApi(admin, { identifier, format, api });
  const user = await createUser(admin, `user-${number}.example`);
  await allow(admin, { identifier, app });
  const scene: Scene = {
    app,
    nextApp: undefined,
    api,
    identifier,
    format,
    user,
    token: '',
    userTokens: undefined,
  };
  await renewToken(world, scene);
  return scene;
}

export async function renewToken(world: World, scene: Scene): Promise<void> {
  scene.token = await persist(world, 'a token', async (node) => {
    const { status, body } = await node.ask({ path: '/oauth2/token', client: scene.app, form: CLIENT_CREDENTIALS });
    if (status === 200) return String(body.access_token);
    if (status === 0 || status === 503) return undefined;
    throw new Error(`no token: ${status} ${JSON.stringify(body)}`);
  });
}

export async function signIn(world: World, scene: Scene): Promise<void> {
  const { issuer } = world.installation;
  scene.userTokens = await persist(world, 'tokens of a user', async (node) => {
    const params = { scope: 'openid read write', resource: scene.identifier };
    const agent = createUserAgent(issuer, [], node.fetch);
    const issued = await obtainCode({ issuer }, scene.app, params, { agent, user: scene.user }).catch(() => undefined);
    if (issued === undefined) return undefined;
    const form = {
      grant_type: 'authorization_code',
      code: issued.code,
      code_verifier: issued.verifier,
      redirect_uri: REDIRECT_URI,
    };
    const { status, body } = await node.ask({ path: '/oauth2/token', client: scene.app, form });
    if (status !== 200) return undefined;
    return { accessToken: String(body.access_token), refreshToken: String(body.refresh_token) };
  });
}

/** Repeats it, on any node, until it brings something. */
async function persist<T>(
  { installation, random }: World,
  what: string,
  work: (node: Node) => Promise<T | undefined>,
): Promise<T> {
  for (const deadline = performance.now() + GIVE_UP_AFTER_MS; performance.now() < deadline; await sleep(PAUSE_MS)) {
    const found = await work(random.pick(reachable(installation)));
    if (found !== undefined) return found;
  }
  throw new Error(`${what}: not within ${GIVE_UP_AFTER_MS / 1000} s`);
}
