// /oauth2/register: dynamic client registration (RFC 7591) and its management (RFC 7592), with the
// answers and errors of those RFCs.

import Router from '@koa/router';
import type { Context, Next } from 'koa';
import { z } from 'zod';
import { isSameClient } from '../../client-binding.ts';
import { AppError } from '../../errors.ts';
import { readJson } from '../../http/body.ts';
import { toAppError } from '../../http/problem.ts';
import { requestId } from '../../http/request-log.ts';
import type { Log } from '../../log.ts';
import type { Client } from '../client.ts';
import type { CreatedClient } from '../clients.ts';
import {
  InvalidAccessError,
  type OwnRegistration,
  type RequestSource,
  type SelfRegistrations,
} from './self-registration.ts';

export const REGISTRATION_PATH = '/oauth2/register';

export interface RegistrationDeps {
  readonly issuer: string;
  readonly registrations: SelfRegistrations;
  /** clients register without an initial access token */
  readonly isOpen: boolean;
  /** by network address; resolves to the seconds to wait, or undefined */
  readonly throttle: { attempt(address: string): Promise<number | undefined> };
  readonly log: Log;
}

export function registrationRoutes(deps: RegistrationDeps): Router {
  const router = new Router({ prefix: REGISTRATION_PATH });
  router.use((ctx, next) => answerRequest(deps, ctx, next));
  for (const path of ['/', '/:client_id']) router.options(path, answerPreflight);
  router.post('/', (ctx) => register(deps, ctx));
  router.get('/:client_id', (ctx) => read(deps, ctx));
  router.put('/:client_id', (ctx) => replace(deps, ctx));
  router.delete('/:client_id', (ctx) => remove(deps, ctx));
  return router;
}

async function answerRequest(deps: RegistrationDeps, ctx: Context, next: Next): Promise<void> {
  ctx.set('Cache-Control', 'no-store');
  // RFC 7591 §3: apps in browsers register too.
  ctx.set('Access-Control-Allow-Origin', '*');
  try {
    await next();
  } catch (error) {
    answerWithError(ctx, error, deps);
  }
}

function answerPreflight(ctx: Context): void {
  ctx.set('Access-Control-Allow-Methods', 'POST, GET, PUT, DELETE');
  ctx.set('Access-Control-Allow-Headers', 'Authorization, Content-Type, MCP-Protocol-Version');
  ctx.status = 204;
}

async function register(deps: RegistrationDeps, ctx: Context): Promise<void> {
  const token = bearerToken(ctx);
  if (token === undefined) {
    if (!deps.isOpen) throw new InvalidAccessError('no initial access token');
    const retryAfterSeconds = await deps.throttle.attempt(ctx.ip);
    if (retryAfterSeconds !== undefined) {
      throw new AppError('too_many_requests', 'too many registrations', { retryAfterSeconds });
    }
  }
  const created = await deps.registrations.register(await readDocument(ctx), token, sourceOf(ctx));
  const { clientId, registeredBy } = created.client;
  deps.log.info({ client_id: clientId, registered_by: registeredBy }, 'client registered dynamically');
  ctx.status = 201;
  ctx.body = toWire(created, created.registrationToken, deps.issuer);
}

async function read(deps: RegistrationDeps, ctx: Context): Promise<void> {
  const { client, token } = await findOwn(deps, ctx);
  ctx.body = toWire({ client, secret: undefined }, token, deps.issuer);
}

async function replace(deps: RegistrationDeps, ctx: Context): Promise<void> {
  const { token, ...registration } = await findOwn(deps, ctx);
  const document = await readDocument(ctx);
  assertForThis(document, registration.client);
  ctx.body = toWire(await deps.registrations.replace(registration, document, sourceOf(ctx)), token, deps.issuer);
}

function sourceOf(ctx: Context): RequestSource {
  return { requestId: requestId(ctx), address: ctx.ip };
}

async function remove(deps: RegistrationDeps, ctx: Context): Promise<void> {
  const { client } = await findOwn(deps, ctx);
  await deps.registrations.remove(client, requestId(ctx));
  ctx.status = 204;
}

async function findOwn(deps: RegistrationDeps, ctx: Context): Promise<OwnRegistration & { token: string }> {
  const token = bearerToken(ctx);
  if (token === undefined) throw new InvalidAccessError('no registration access token');
  return { ...(await deps.registrations.find(String(ctx.params.client_id), token)), token };
}

/** @returns undefined without the header. @throws InvalidAccessError if it has no bearer token */
function bearerToken(ctx: Context): string | undefined {
  const authorization = ctx.get('Authorization');
  if (authorization === '') return undefined;
  const token = /^bearer +([\w.~+/-]+=*) *$/i.exec(authorization)?.[1];
  if (token === undefined) throw new InvalidAccessError('not a bearer token');
  return token;
}

/** RFC 7592 §2.2: the request names its client, and "MUST NOT include" what the server sets. */
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

const documentSchema = z.record(z.string(), z.unknown());

async function readDocument(ctx: Context): Promise<Record<string, unknown>> {
  const document = documentSchema.safeParse(await readJson(ctx));
  if (document.success) return document.data;
  throw new AppError('malformed_request', 'the body must be a JSON object');
}

/** RFC 7591 §3.2.2, RFC 6750 §3.1 */
function answerWithError(ctx: Context, error: unknown, { issuer, log }: RegistrationDeps): void {
  if (error instanceof InvalidAccessError) {
    log.info({ request_id: requestId(ctx), reason: error.message }, 'refused');
    ctx.status = 401;
    // RFC 6750 §3.1: without any authentication information the answer SHOULD NOT include an error
    // code.
    const reason = ctx.get('Authorization') === '' ? '' : ', error="invalid_token"';
    ctx.set('WWW-Authenticate', `Bearer realm="${issuer}"${reason}`);
    ctx.body = { error: 'invalid_token', error_description: 'the access token is not valid for this request' };
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
 * RFC 7591 §3.2.1, RFC 7592 §3: all registered metadata, including what the server has filled in.
 * The secret is in it only when it is new, since only its hash is stored.
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
