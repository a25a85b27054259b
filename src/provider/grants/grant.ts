// What a grant is on the fast path: a function of the client and the parameters of its request.

import type { Client } from 'oidc-provider';

/** The answer of the token endpoint. */
export interface Granted {
  readonly body: object;
  /** Stores nothing, so it is signed while the database stores the rest. undefined: nobody asked who the user is */
  readonly idToken?: Promise<string | undefined>;
}

/** One grant type. @returns undefined to leave the request to the engine */
export type FastGrant = (client: Client, params: ReadonlyMap<string, string>) => Promise<Granted | undefined>;

export function hasOnly(params: ReadonlyMap<string, string>, names: readonly string[]): boolean {
  for (const name of params.keys()) if (!names.includes(name)) return false;
  return true;
}
