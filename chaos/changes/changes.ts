// Each kind of change with which an operator takes something away: how it is made, what it takes away,
// and how the scene gets it back.

import { kidOf } from '../ledger.ts';
import type { Node } from '../node.ts';
import {
  allow,
  apiPath,
  CLIENT_CREDENTIALS,
  createApi,
  createApp,
  renewToken,
  SCOPES,
  type Scene,
  type World,
} from './scene.ts';

/** `unknown`: no answer, or one that decides nothing (503) */
export type Outcome = 'granted' | 'refused' | 'unknown';
/** Asks a node for what the change takes away. */
export type Probe = (node: Node, scene: Scene, isNewConnection: boolean) => Promise<Outcome>;

export interface Change {
  readonly name: string;
  readonly probes: readonly Probe[];
  /** Signs the user in first. */
  readonly isOfUser?: boolean;
  apply(world: World, scene: Scene): Promise<void>;
  undo(world: World, scene: Scene): Promise<void>;
}

function outcome(status: number, isGranted: boolean): Outcome {
  if (status === 0 || status === 503) return 'unknown';
  return isGranted ? 'granted' : 'refused';
}

const askForToken = (node: Node, { app }: Scene, isNewConnection: boolean) =>
  node.ask({ path: '/oauth2/token', client: app, form: CLIENT_CREDENTIALS, isNewConnection });

const getsToken: Probe = async (node, scene, isNewConnection) => {
  const { status } = await askForToken(node, scene, isNewConnection);
  return outcome(status, status === 200);
};

const getsWrite: Probe = async (node, scene, isNewConnection) => {
  const { status, body } = await askForToken(node, scene, isNewConnection);
  return outcome(status, /write/.test(String(body.scope)));
};

const refreshes: Probe = async (node, { app, userTokens }, isNewConnection) => {
  const form = { grant_type: 'refresh_token', refresh_token: userTokens?.refreshToken ?? '' };
  const { status } = await node.ask({ path: '/oauth2/token', client: app, form, isNewConnection });
  return outcome(status, status === 200);
};

const introspecting =
  (
    caller: 'app' | 'api',
    tokenOf: (scene: Scene) => string | undefined,
    isGranted: (body: Readonly<Record<string, unknown>>) => boolean,
  ): Probe =>
  async (node, scene, isNewConnection) => {
    const form = { token: tokenOf(scene) ?? '' };
    const { status, body } = await node.ask({
      path: '/oauth2/introspect',
      client: scene[caller],
      form,
      isNewConnection,
    });
    return outcome(status, isGranted(body));
  };
const isActive = (body: Readonly<Record<string, unknown>>) => body.active === true;
const mayWrite = (body: Readonly<Record<string, unknown>>) => /write/.test(String(body.scope));
export const clientTokenActive = introspecting('api', ({ token }) => token, isActive);
const clientTokenWrites = introspecting('api', ({ token }) => token, mayWrite);
const userTokenActive = introspecting('app', ({ userTokens }) => userTokens?.accessToken, isActive);
const refreshTokenActive = introspecting('app', ({ userTokens }) => userTokens?.refreshToken, isActive);

const clientPath = ({ app }: Scene) => `/clients/${app.clientId}`;
const policyPath = (scene: Scene) => `${apiPath(scene)}/clients/${scene.app.clientId}`;

/** A secret that is valid from now on; `app` keeps the one that it has until the change is undone. */
async function addSecret({ admin }: World, scene: Scene, overlapSeconds: number): Promise<void> {
  const json = { overlap_seconds: overlapSeconds };
  const { body } = await admin.send('POST', `${clientPath(scene)}/secrets`, json, 'client_secret.created');
  scene.nextApp = { clientId: scene.app.clientId, clientSecret: String(body.client_secret) };
}

async function removeSecrets(world: World, scene: Scene): Promise<void> {
  await addSecret(world, scene, 3_600);
  const { body } = await world.admin.send('GET', `${clientPath(scene)}/secrets`);
  const others = (body.items as { id: string; expires_at: string | null }[]).filter((one) => one.expires_at !== null);
  for (const { id } of others) {
    await world.admin.send('DELETE', `${clientPath(scene)}/secrets/${id}`, undefined, 'client_secret.removed');
  }
}

async function useNextSecret(world: World, scene: Scene): Promise<void> {
  scene.app = scene.nextApp ?? scene.app;
  await renewToken(world, scene);
}

export const CHANGES: readonly Change[] = [
  {
    name: 'a disabled client',
    probes: [getsToken, clientTokenActive],
    apply: async ({ admin }, scene) =>
      void (await admin.send('POST', `${clientPath(scene)}/disable`, undefined, 'client.disabled')),
    async undo(world, scene) {
      await world.admin.send('POST', `${clientPath(scene)}/enable`, undefined, 'client.enabled');
      scene.userTokens = undefined;
      await renewToken(world, scene);
    },
  },
  {
    name: 'a removed client',
    probes: [getsToken, clientTokenActive],
    apply: async ({ admin }, scene) =>
      void (await admin.send('DELETE', clientPath(scene), undefined, 'client.removed')),
    async undo(world, scene) {
      scene.app = await createApp(world.admin);
      scene.userTokens = undefined;
      await allow(world.admin, scene);
      await renewToken(world, scene);
    },
  },
  {
    name: 'the revoked tokens of a client',
    probes: [clientTokenActive],
    apply: async ({ admin }, scene) =>
      void (await admin.send('POST', `${clientPath(scene)}/revoke-tokens`, undefined, 'client.tokens_revoked')),
    async undo(world, scene) {
      scene.userTokens = undefined;
      await renewToken(world, scene);
    },
  },
  {
    name: 'a removed policy row',
    probes: [getsToken, clientTokenActive],
    apply: async ({ admin }, scene) =>
      void (await admin.send('DELETE', policyPath(scene), undefined, 'client_grant.removed')),
    async undo(world, scene) {
      scene.userTokens = undefined;
      await allow(world.admin, scene);
      await renewToken(world, scene);
    },
  },
  {
    name: 'a narrower policy row',
    probes: [getsWrite, clientTokenWrites],
    apply: async ({ admin }, scene) => void (await allow(admin, scene, ['read'])),
    async undo(world, scene) {
      await allow(world.admin, scene);
      await renewToken(world, scene);
    },
  },
  {
    name: 'a secret replaced without overlap',
    probes: [getsToken],
    apply: (world, scene) => addSecret(world, scene, 0),
    undo: useNextSecret,
  },
  { name: 'a removed secret', probes: [getsToken], apply: removeSecrets, undo: useNextSecret },
  {
    name: 'a disabled user',
    isOfUser: true,
    probes: [userTokenActive, refreshTokenActive, refreshes],
    apply: async ({ admin }, { user }) =>
      void (await admin.send('POST', `/users/${user.id}/disable`, undefined, 'user.disabled')),
    async undo({ admin }, scene) {
      await admin.send('POST', `/users/${scene.user.id}/enable`, undefined, 'user.enabled');
      scene.userTokens = undefined;
    },
  },
  {
    name: 'the revoked tokens of a user',
    isOfUser: true,
    probes: [userTokenActive, refreshTokenActive, refreshes],
    apply: async ({ admin }, { user }) =>
      void (await admin.send('POST', `/users/${user.id}/revoke-tokens`, undefined, 'user.tokens_revoked')),
    async undo(_world, scene) {
      scene.userTokens = undefined;
    },
  },
  {
    name: 'another password',
    isOfUser: true,
    probes: [userTokenActive, refreshes],
    async apply({ admin }, { user }) {
      user.password = `${user.password}.`.slice(-64);
      await admin.send('PATCH', `/users/${user.id}`, { password: user.password }, 'user.changed');
    },
    async undo(_world, scene) {
      scene.userTokens = undefined;
    },
  },
  {
    name: 'an API with fewer scopes',
    probes: [getsWrite],
    apply: async ({ admin }, scene) =>
      void (await admin.send('PATCH', apiPath(scene), { scopes: ['read'] }, 'resource_server.changed')),
    async undo(world, scene) {
      await world.admin.send('PATCH', apiPath(scene), { scopes: SCOPES }, 'resource_server.changed');
      await allow(world.admin, scene);
    },
  },
  {
    name: 'an API with another introspection client',
    probes: [clientTokenActive],
    apply: async ({ admin }, scene) =>
      void (await admin.send('PATCH', apiPath(scene), { introspection_client_id: null }, 'resource_server.changed')),
    async undo({ admin }, scene) {
      const json = { introspection_client_id: scene.api.clientId };
      await admin.send('PATCH', apiPath(scene), json, 'resource_server.changed');
    },
  },
  {
    name: 'an API that is gone',
    probes: [getsToken, clientTokenActive],
    apply: async ({ admin }, scene) =>
      void (await admin.send('DELETE', apiPath(scene), undefined, 'resource_server.removed')),
    async undo(world, scene) {
      scene.userTokens = undefined;
      await createApi(world.admin, scene);
      await allow(world.admin, scene);
      await renewToken(world, scene);
    },
  },
];

/** Takes the key out of use that has signed the token of the scene; it is of the whole installation. */
export function removalOfKey({ token }: Scene, onRemoval: (kid: string, state: 'unknown' | 'gone') => void): Change {
  const kid = String(kidOf(token));
  const signsWithIt: Probe = async (node, scene, isNewConnection) => {
    const { status, body } = await askForToken(node, scene, isNewConnection);
    return outcome(status, status === 200 && kidOf(String(body.access_token)) === kid);
  };
  return {
    name: 'a removed signing key',
    probes: [clientTokenActive, signsWithIt],
    async apply({ admin }) {
      onRemoval(kid, 'unknown');
      await admin.send('DELETE', `/keys/${kid}`, undefined, 'signing_key.removed');
      onRemoval(kid, 'gone');
    },
    async undo() {},
  };
}
