// A server under test, whatever it is: where it answers, who may ask it, which processes it consists of.

import type { Fixtures } from '../fixtures.ts';
import type { Processes } from './processes.ts';

export interface Subject {
  readonly name: 'engine' | 'lanyard' | 'foreign';
  readonly url: string;
  readonly paths: { readonly token: string; readonly introspection: string };
  readonly fixtures: Fixtures;
  /** undefined where the processes are not ours to look at */
  readonly processes: Processes | undefined;
  /** undefined where there is no admin API */
  readonly admin: AdminApi | undefined;
}

/** Of the servers that we start. */
export const PATHS = { token: '/oauth2/token', introspection: '/oauth2/introspect' } as const;

export interface AdminApi {
  /** the header of a token that lives long enough for one round */
  authorization(): Promise<string>;
  call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
}
