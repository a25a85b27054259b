// A server under test: its URLs, its clients and its processes.

import type { Fixtures } from '../fixtures.ts';
import type { Processes } from './processes.ts';

export interface Subject {
  readonly name: 'engine' | 'lanyard' | 'foreign';
  readonly url: string;
  readonly paths: { readonly token: string; readonly introspection: string };
  readonly fixtures: Fixtures;
  /** undefined for a foreign server */
  readonly processes: Processes | undefined;
  /** undefined without an admin API */
  readonly admin: AdminApi | undefined;
}

/** Of the servers that the bench starts. */
export const PATHS = { token: '/oauth2/token', introspection: '/oauth2/introspect' } as const;

export interface AdminApi {
  /** the header with a token that is valid for one round */
  authorization(): Promise<string>;
  call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>>;
}
