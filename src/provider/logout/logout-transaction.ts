// A logout is several steps of the engine: notices to the apps, grants revoked, the session
// destroyed. Their writes are collected and committed in one transaction before the answer is sent:
// after a crash the user is either still signed in, or signed out with every notice stored. The row
// of the session comes first. The admin API ends sessions in the same order of rows, so that the
// two cannot deadlock.

import { AsyncLocalStorage } from 'node:async_hooks';
import type { Middleware } from 'koa';
import type { Database, Query } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import { asEngineContext } from '../engine-internals.ts';
import type { Pages } from '../http/pages.ts';

type Write = (query: Query) => Promise<unknown>;

export interface LogoutTransaction {
  readonly middleware: Middleware;
  /** Runs with the other writes of the logout around it, or at once when there is none. */
  write(write: Write): Promise<void>;
  /** The same, before all that was written so far. */
  writeFirst(write: Write): Promise<void>;
}

export interface LogoutTransactionDeps {
  readonly database: Pick<Database, 'query' | 'transaction'>;
  readonly path: string;
  readonly pages: Pick<Pages, 'renderError'>;
  readonly log: Log;
}

export function createLogoutTransaction({ database, path, pages, log }: LogoutTransactionDeps): LogoutTransaction {
  const current = new AsyncLocalStorage<Write[]>();

  const writer = (put: 'push' | 'unshift') => async (write: Write) => {
    const writes = current.getStore();
    if (writes === undefined) await write(database.query);
    else writes[put](write);
  };

  return {
    write: writer('push'),
    writeFirst: writer('unshift'),
    async middleware(ctx, next) {
      if (ctx.path !== path) return next();
      const writes: Write[] = [];
      await current.run(writes, next);
      if (writes.length === 0) return;
      try {
        await database.transaction(async (query) => {
          for (const write of writes) await write(query);
        });
      } catch (error) {
        log.error({ error, request_id: ctx.get('x-request-id') }, 'the logout could not be stored');
        // The user is still signed in, and needs the cookie to try again.
        ctx.remove('Set-Cookie');
        ctx.remove('Location');
        ctx.status = 500;
        const out = { error: 'server_error', error_description: 'You are still signed in. Try again.' };
        await pages.renderError(asEngineContext(ctx), out, error as Error);
      }
    },
  };
}
