// What every recipe meets: a fresh Lanyard as its operator starts it, with a user and an API.

import { randomBytes } from 'node:crypto';
import { type AdminClient, createAdminClient } from '../test/support/admin.ts';
import { makeHome, removeHome, start, stop } from '../test/support/process.ts';

export const USER = {
  username: 'alice',
  password: 'correct horse battery',
  email: 'alice@wonderland.example',
  name: 'Alice Liddell',
};
export const RESOURCE = 'https://orders.example';
export const API_SCOPE = 'orders:read';
export const SCOPE = `openid profile email offline_access ${API_SCOPE}`;

export interface Stage {
  readonly issuer: string;
  readonly admin: AdminClient;
  /** what the log says since the last call about what was refused or went wrong */
  newTrouble(): string[];
  stop(): Promise<void>;
}

export async function startStage(): Promise<Stage> {
  const home = await makeHome();
  const adminSecret = randomBytes(24).toString('base64url');
  // Agents register themselves; for other clients it changes nothing.
  const env = { LANYARD_ADMIN_CLIENT_SECRET: adminSecret, LANYARD_DANGER_OPEN_REGISTRATION: 'true' };
  const lanyard = await start({ home, env }).catch(async (error: unknown) => {
    await removeHome(home);
    throw error;
  });
  const admin = createAdminClient(lanyard.issuer, adminSecret);
  await admin.createApi(RESOURCE, { name: 'Orders', scopes: [API_SCOPE] });
  await admin.createUser(USER.username, USER.password, {
    email: USER.email,
    claims: { name: USER.name, email_verified: true },
  });
  let seen = 0;
  return {
    issuer: lanyard.issuer,
    admin,
    newTrouble() {
      const lines = lanyard.stdout.slice(seen).split('\n').filter(isTrouble);
      seen = lanyard.stdout.length;
      return lines;
    },
    async stop() {
      await stop(lanyard);
      await removeHome(home);
    },
  };
}

function isTrouble(line: string): boolean {
  return /"level":"(warn|error|fatal)"|"msg":"refused"|"status":[45]/.test(line);
}
