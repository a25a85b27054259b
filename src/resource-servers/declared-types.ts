// The types of authorization details that resource servers declare (RFC 9396 §10), for the discovery
// document. They are read at start and after each change. While they cannot be read, the last ones
// are named: that grants nothing, because a request is checked against its resource server.

import type { Database } from '../database/database.ts';
import type { Log } from '../log.ts';
import { listDetailsTypes } from './store.ts';

export interface DeclaredTypes {
  current(): readonly string[];
  onChange(listener: () => void): void;
  /** Resolves when changes that were committed before the call are in use, or could not be read. */
  refresh(): Promise<void>;
  stop(): void;
}

export interface FollowDeclaredTypesOptions {
  readonly database: Pick<Database, 'query' | 'changes'>;
  readonly log: Log;
}

/** After a failed read. */
const RETRY_MS = 1_000;

/** @throws Error when they cannot be read at the start */
export async function followDeclaredTypes({ database, log }: FollowDeclaredTypesOptions): Promise<DeclaredTypes> {
  const { query, changes } = database;
  const listeners: (() => void)[] = [];
  let current: readonly string[] = [];
  let isOutdated = false;
  let isStopped = false;
  /** of the last read */
  let fault: unknown;
  let reading: Promise<void> | undefined;
  let timer: NodeJS.Timeout | undefined;

  /** One read at a time; a change during a read causes another one. */
  function refresh(): Promise<void> {
    isOutdated = true;
    reading ??= readUntilCurrent().finally(() => {
      reading = undefined;
      clearTimeout(timer);
      if (fault !== undefined && !isStopped) timer = setTimeout(refresh, RETRY_MS).unref();
    });
    return reading;
  }

  async function readUntilCurrent(): Promise<void> {
    while (isOutdated && !isStopped) {
      isOutdated = false;
      try {
        use(await listDetailsTypes(query));
        fault = undefined;
      } catch (error) {
        if (fault === undefined) log.warn({ error }, 'the authorization details types could not be read');
        fault = error;
      }
    }
  }

  function use(types: readonly string[]): void {
    const isNew = types.join('\0') !== current.join('\0');
    current = types;
    if (isNew) for (const listener of listeners) listener();
  }

  function stop(): void {
    isStopped = true;
    clearTimeout(timer);
  }

  // Not waited for: no token depends on it.
  changes.subscribe('resource_server', () => void refresh());
  await refresh();
  if (fault !== undefined) {
    stop();
    throw fault;
  }
  return { current: () => current, onChange: (listener) => void listeners.push(listener), refresh, stop };
}
