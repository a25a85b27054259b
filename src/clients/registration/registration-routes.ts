// /oauth2/register: dynamic client registration (RFC 7591) and its management (RFC 7592), with the answers and errors of those RFCs.

import Router from '@koa/router';
import type { Context } from 'koa';
import { isSameClient } from '../../client-binding.ts';
import type { ChangeFeed } from '../../database/change-feed.ts';
import { AppError } from '../../errors.ts';
import { readJson } from '../../http/body.ts';
import { toAppError } from '../../http/problem.ts';
import { requestId } from '../../http/request-log.ts';
import type { Log } from '../../log.ts';
import type { Client } from '../client.ts';
import type { CreatedClient } from '../clients.ts';
import { InvalidAccessError, type OwnRegistration, type SelfRegistrations } from './self-registration.ts';

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
    ctx.body = toWire(created, created.registrationToken, issuer);
  });

  router.get('/:client_id', async (ctx) => {
    const { client, token } = await own(ctx);
    ctx.body = toWire({ client, secret: undefined }, token, issuer);
  });

  router.put('/:client_id', async (ctx) => {
    const { token, ...registration } = await own(ctx);
    const document = await readDocument(ctx);
    assertForThis(document, registration.client);
    ctx.body = toWire(await registrations.replace(registration, document, requestId(ctx)), token, issuer);
  });

  router.delete('/:client_id', async (ctx) => {
    await registrations.remove((await own(ctx)).client, requestId(ctx));
    ctx.status = 204;
  });

  async function own(ctx: Context): Promise<OwnRegistration & { token: string }> {
    const token = bearerToken(ctx);
    if (token === undefined) throw new InvalidAccessError('no registration access token');
    return { ...(await registrations.find(String(ctx.params.client_id), token)), token };
  }

  return router;
}

/** @returns undefined when nothing was presented. @throws InvalidAccessError: who presents something else is not nobody */
function bearerToken(ctx: Context): string | undefined {
  const authorization = ctx.get('Authorization');
  if (authorization === '') return undefined;
  const token = /^bearer +([\w.~+/-]+=*) *$/i.exec(authorization)?.[1];
  if (token === undefined) throw new InvalidAccessError('not a bearer token');
  return token;
}

/** RFC 7592 §2.2: the request names its client, and "MUST NOT include" what only the server says. */
function assertForThis(document: Record<string, unknown>, client: Client): void {
  const faults = SERVERS_MEMBERS.filter((name) => document[name] !== undefined).map((name) => ({
    pointer: `/${name}`,
    detail: `${name} must be left out`,
  }));
  if (!isSameClient(String(document.client_id), client.clientId)) {
    faults.push({ pointer: '/client_id', detail: 'client_id must be that of the address' });
  }
  if (faults.length > 0)
    throw new AppError('validation_failed', faults.map(({ detail }) => detail).join('; '), { faults });
}

const SERVERS_MEMBERS = [
  'registration_access_token',
  'registration_client_uri',
  'client_secret_expires_at',
  'client_id_issued_at',
];

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
    // RFC 6750 §3.1: without any authentication information the answer SHOULD NOT include an error code.
    const reason = ctx.get('Authorization') === '' ? '' : ', error="invalid_token"';
    ctx.set('WWW-Authenticate', `Bearer realm="${issuer}"${reason}`);
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

/**
 * RFC 7591 §3.2.1, RFC 7592 §3: everything that was registered, also what the server has filled in. The secret is in it only when
 * it is new: what is stored is its hash.
 */
function toWire({ client, secret }: CreatedClient, registrationToken: string, issuer: string) {
  return {
    client_id: client.clientId,
    client_id_issued_at: Math.floor(client.createdAt.getTime() / 1000),
    ...client.metadata,
    ...(secret === undefined ? {} : { client_secret: secret, client_secret_expires_at: 0 }),
    registration_client_uri: `${issuer}${REGISTRATION_PATH}/${client.clientId}`,
    registration_access_token: registrationToken,
  };
}
