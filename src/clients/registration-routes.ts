// /oauth2/register: dynamic client registration (RFC 7591) and its management (RFC 7592), with the answers and errors of those RFCs.

import Router from '@koa/router';
import type { Context } from 'koa';
import { isSameClient } from '../client-binding.ts';
import type { ChangeFeed } from '../database/change-feed.ts';
import { AppError } from '../errors.ts';
import { readJson } from '../http/body.ts';
import { toAppError } from '../http/problem.ts';
import { requestId } from '../http/request-log.ts';
import type { Log } from '../log.ts';
import type { Client } from './client.ts';
import { InvalidAccessError, type SelfRegistrations } from './self-registration.ts';

export const REGISTRATION_PATH = '/oauth2/register';

export interface RegistrationDeps {
  readonly issuer: string;
  readonly registrations: SelfRegistrations;
  /** anybody may register */
  readonly isOpen: boolean;
  /** by network address; resolves to the seconds to wait, if any */
  readonly throttle: { attempt(address: string): Promise<number | undefined> };
  readonly changes: Pick<ChangeFeed, 'settled'>;
  readonly log: Log;
}

export function registrationRoutes(deps: RegistrationDeps): Router {
  const { issuer, registrations, changes, log } = deps;
  const router = new Router({ prefix: REGISTRATION_PATH });

  router.use(async (ctx, next) => {
    ctx.set('Cache-Control', 'no-store');
    // RFC 7591 §3: apps in browsers register too.
    ctx.set('Access-Control-Allow-Origin', '*');
    try {
      await next();
      // Whoever has the answer may use the client at once.
      if (ctx.method !== 'GET') await changes.settled();
    } catch (error) {
      answerWithError(ctx, error, deps);
    }
  });

  for (const path of ['/', '/:client_id']) {
    router.options(path, (ctx) => {
      ctx.set('Access-Control-Allow-Methods', 'POST, GET, PUT, DELETE');
      ctx.set('Access-Control-Allow-Headers', 'Authorization, Content-Type, MCP-Protocol-Version');
      ctx.status = 204;
    });
  }

  router.post('/', async (ctx) => {
    const token = bearerToken(ctx);
    if (token === undefined) {
      if (!deps.isOpen) throw new InvalidAccessError('no initial access token');
      const retryAfterSeconds = await deps.throttle.attempt(ctx.ip);
      if (retryAfterSeconds !== undefined) {
        throw new AppError('too_many_requests', 'too many registrations', { retryAfterSeconds });
      }
    }
    const created = await registrations.register(await readDocument(ctx), token, requestId(ctx));
    log.info({ client_id: created.client.clientId, registered_by: created.client.registeredBy }, 'registered itself');
    ctx.status = 201;
    ctx.body = {
      ...toWire(created.client, issuer),
      ...(created.secret === undefined ? {} : { client_secret: created.secret, client_secret_expires_at: 0 }),
      registration_access_token: created.registrationToken,
    };
  });

  router.get('/:client_id', async (ctx) => {
    ctx.body = toWire(await own(ctx), issuer);
  });

  router.put('/:client_id', async (ctx) => {
    const client = await own(ctx);
    const document = await readDocument(ctx);
    // RFC 7592 §2.2
    const contradicts = ['registration_access_token', 'registration_client_uri', 'client_secret_expires_at'].some(
      (name) => document[name] !== undefined,
    );
    if (!isSameClient(String(document.client_id), ctx.params.client_id) || contradicts) {
      throw new AppError('validation_failed', 'client_id must be that of the address, and only it', {
        faults: [{ pointer: '/client_id', detail: 'must be that of the address' }],
      });
    }
    ctx.body = toWire(await registrations.replace(client, document, requestId(ctx)), issuer);
  });

  router.delete('/:client_id', async (ctx) => {
    await registrations.remove(await own(ctx), requestId(ctx));
    ctx.status = 204;
  });

  function own(ctx: Context): Promise<Client> {
    const token = bearerToken(ctx);
    if (token === undefined) throw new InvalidAccessError('no registration access token');
    return registrations.find(String(ctx.params.client_id), token);
  }

  return router;
}

function bearerToken(ctx: Context): string | undefined {
  return /^bearer +([\w.~+/-]+=*) *$/i.exec(ctx.get('Authorization'))?.[1];
}

async function readDocument(ctx: Context): Promise<Record<string, unknown>> {
  const document = await readJson(ctx);
  if (typeof document === 'object' && document !== null && !Array.isArray(document)) {
    return document as Record<string, unknown>;
  }
  throw new AppError('malformed_request', 'the body must be a JSON object');
}

/** RFC 7591 §3.2.2, RFC 6750 §3.1 */
function answerWithError(ctx: Context, error: unknown, { issuer, log }: RegistrationDeps): void {
  if (error instanceof InvalidAccessError) {
    log.info({ request_id: requestId(ctx), reason: error.message }, 'refused');
    ctx.status = 401;
    ctx.set('WWW-Authenticate', `Bearer realm="${issuer}", error="invalid_token"`);
    ctx.body = { error: 'invalid_token', error_description: 'the access token is not good for this' };
    return;
  }
  const known = toAppError(error, ctx, log);
  ctx.status = known.status;
  if (known.retryAfterSeconds !== undefined) ctx.set('Retry-After', String(known.retryAfterSeconds));
  ctx.body = { error: codeOf(known), error_description: known.detail };
}

function codeOf(error: AppError): string {
  if (error.code === 'too_many_requests') return 'temporarily_unavailable';
  if (error.status >= 500) return 'server_error';
  if (error.code !== 'validation_failed') return 'invalid_client_metadata';
  const isAboutRedirects = error.faults.some(({ pointer }) => pointer.startsWith('/redirect_uris'));
  return isAboutRedirects ? 'invalid_redirect_uri' : 'invalid_client_metadata';
}

/** RFC 7591 §3.2.1: everything that was registered, also what the server has filled in. */
function toWire(client: Client, issuer: string) {
  return {
    client_id: client.clientId,
    client_id_issued_at: Math.floor(client.createdAt.getTime() / 1000),
    ...client.metadata,
    registration_client_uri: `${issuer}${REGISTRATION_PATH}/${client.clientId}`,
  };
}
