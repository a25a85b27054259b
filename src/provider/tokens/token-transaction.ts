// The middleware around POST /oauth2/token that commits what the engine wrote (unit-of-work), and the reaction when another
// request was faster: exactly one exchange of a code or a rotating refresh token wins, and a replay revokes what the code or
// the family has given (RFC 6749 §4.1.2, RFC 9700 §4.14.2).

import type { IncomingMessage } from 'node:http';
import type { Context, Middleware } from 'koa';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { type ChangedBy, recordAudit } from '../../audit/audit.ts';
import type { Database } from '../../database/database.ts';
import type { Log } from '../../log.ts';
import type { Metrics } from '../../metrics/metrics.ts';
import { OVERLOADED_BODY, overloadIn } from '../http/overload.ts';
import { AlreadyConsumedError } from '../storage/artifact-store.ts';
import { findGrantOf, removeGrant } from '../storage/artifacts.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { graceSeconds, JUST_ROTATED } from './refresh-grace.ts';

/** Of requests whose tokens the short path could not store or sign, and nobody knows how far the database came. */
const failedCommits = new WeakMap<IncomingMessage, unknown>();

/**
 * Lets the request end here. To exchange the same code once more would look like a replay, if the database did store it: that would
 * end what the user has just begun.
 */
export function noteFailedCommit(request: IncomingMessage, error: unknown): void {
  failedCommits.set(request, error);
}

export interface TokenTransactionDeps {
  readonly database: Database;
  readonly unitOfWork: UnitOfWork;
  readonly metrics: Pick<Metrics, 'refused' | 'tokenReplayed'>;
  readonly log: Log;
  readonly path: string;
}

export function tokenTransaction(deps: TokenTransactionDeps): Middleware {
  const { database, unitOfWork, metrics, log } = deps;

  /** All of it in one transaction: the grant does not go without a trace of why. */
  async function revokeReplayed(replay: AlreadyConsumedError, by: ChangedBy): Promise<void> {
    await database.transaction(async (query) => {
      const grant = await findGrantOf(query, replay.model, replay.artifactId);
      if (grant === undefined) return;
      await removeGrant(query, grant.grantId);
      await recordAudit(query, {
        type: 'token.replayed',
        actor: by.actor,
        requestId: by.requestId,
        clientId: grant.clientId,
        accountId: grant.accountId,
        detail: { kind: replay.model },
      });
    });
  }

  return async (ctx, next) => {
    if (ctx.method !== 'POST' || ctx.path !== deps.path) return next();
    try {
      if (failedCommits.has(ctx.req)) throw failedCommits.get(ctx.req);
      const collected = await unitOfWork.collect(ctx.get('x-request-id'), next);
      if (ctx.status === 200) await collected.commit();
    } catch (error) {
      const overload = overloadIn(error);
      // The body holds tokens that do not exist: it must not leave.
      if (error instanceof AlreadyConsumedError) {
        const { client } = (ctx as unknown as KoaContextWithOIDC).oidc;
        const isGraceful = error.model === 'RefreshToken' && graceSeconds(client) > 0;
        const description = isGraceful ? JUST_ROTATED : 'grant request is invalid';
        answer(ctx, 400, { error: 'invalid_grant', error_description: description });
        metrics.refused('token', 'invalid_grant');
        if (isGraceful) return;
        metrics.tokenReplayed(error.model);
        await revokeReplayed(error, { actor: 'system', requestId: ctx.get('x-request-id') });
      } else if (overload !== undefined) {
        ctx.set('Retry-After', String(overload.retryAfterSeconds ?? 1));
        answer(ctx, 503, OVERLOADED_BODY);
      } else {
        log.error({ error, request_id: ctx.get('x-request-id') }, 'the tokens could not be stored');
        metrics.refused('token', 'server_error');
        answer(ctx, 500, { error: 'server_error', error_description: 'oops! something went wrong' });
      }
    }
  };
}

function answer(ctx: Context, status: number, body: { error: string; error_description: string }): void {
  ctx.status = status;
  ctx.body = body;
}
