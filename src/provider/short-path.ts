// The two requests that machines send all day, client_credentials and introspection, when they look as they nearly always do:
// answered without the engine's request pipeline, which is most of what they cost, but with the engine's models, our binding
// hooks and our policies.
//
// This path only ever says yes. Whatever is unusual about a request (another way to authenticate, a parameter more or twice, an
// Origin, a wrong secret, a token we do not recognise, any error at all) is left to the engine, unchanged, and gets the
// engine's answer. test/provider/short-path sends the same requests down both ways and compares.

import type { Context, Middleware } from 'koa';
import type Provider from 'oidc-provider';
import type { Client } from 'oidc-provider';
import type { ClientAdapter } from './client-adapter.ts';
import { handBack, isForm, readFormBody } from './form-body.ts';

export interface ShortRequest {
  readonly ctx: Context;
  readonly client: Client;
  /** each once, none empty; without those of client authentication */
  readonly params: ReadonlyMap<string, string>;
}

export interface ShortAnswer {
  /** those that the engine lets a browser app read at this endpoint */
  readonly exposedHeaders: string;
  /** @returns undefined to leave the request to the engine */
  answer(request: ShortRequest): Promise<object | undefined>;
}

export interface ShortPathDeps {
  readonly provider: Provider;
  readonly clientAdapter: Pick<ClientAdapter, 'isSecretOf'>;
  readonly answers: Readonly<Record<string, ShortAnswer>>;
}

/** Longer ones are rare enough to be left to the engine. */
const MAX_BODY_BYTES = 8 * 1024;
/** Headers that change what the engine does with a request. */
const MEANINGFUL_HEADERS = ['origin', 'dpop', 'oauth-client-attestation', 'transfer-encoding', 'content-encoding'];
/** What every parser of forms reads in the same way. */
const PLAIN_FORM = /^(?:[\w.~*&=+:/@,!'()-]|%[0-7][0-9a-fA-F])+$/;

export function shortPath(deps: ShortPathDeps): Middleware {
  const answers = new Map(Object.entries(deps.answers));
  return async (ctx, next) => {
    const answer = answers.get(ctx.path);
    const shortBody = answer && isPlain(ctx) ? await answerShortly(deps, ctx, answer) : undefined;
    if (answer === undefined || shortBody === undefined) {
      handBack(ctx.req);
      return next();
    }
    // What the engine sets at these endpoints.
    ctx.set('Cache-Control', 'no-store');
    ctx.set('Vary', 'Origin');
    ctx.set('Access-Control-Allow-Origin', '*');
    ctx.set('Access-Control-Expose-Headers', answer.exposedHeaders);
    ctx.body = shortBody;
  };
}

async function answerShortly(deps: ShortPathDeps, ctx: Context, answer: ShortAnswer): Promise<object | undefined> {
  const body = await readFormBody(ctx);
  const params = body === undefined ? undefined : readParams(body);
  try {
    const client = params && (await recognise(deps, ctx, params));
    return client && (await answer.answer({ ctx, client, params: withoutCredentials(params) }));
  } catch {
    // The engine meets the same trouble, and has the words for it; or it is over by then.
    ctx.remove('Retry-After');
    return undefined;
  }
}

function isPlain(ctx: Context): boolean {
  const length = Number(ctx.headers['content-length']);
  return (
    length > 0 &&
    length <= MAX_BODY_BYTES &&
    ctx.querystring === '' &&
    isForm(ctx) &&
    MEANINGFUL_HEADERS.every((name) => ctx.headers[name] === undefined)
  );
}

/** Each parameter once (RFC 6749 §3.1), none empty. */
function readParams(body: string): Map<string, string> | undefined {
  if (!PLAIN_FORM.test(body)) return undefined;
  const params = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (params.has(name) || value === '') return undefined;
    params.set(name, value);
  }
  return params;
}

/** RFC 6749 §2.3.1: a secret in the Authorization header or in the body, in one of them. */
async function recognise(
  { provider, clientAdapter }: ShortPathDeps,
  ctx: Context,
  params: ReadonlyMap<string, string>,
): Promise<Client | undefined> {
  const { authorization } = ctx.headers;
  const inBody = params.has('client_id') || params.has('client_secret');
  if (inBody === (authorization !== undefined) || params.has('client_assertion')) return undefined;
  const [clientId, secret] = inBody
    ? [params.get('client_id'), params.get('client_secret')]
    : readBasic(authorization as string);
  if (clientId === undefined || secret === undefined) return undefined;
  const client = await provider.Client.find(clientId);
  const method = client?.clientAuthMethod;
  if (method !== 'client_secret_basic' && method !== 'client_secret_post') return undefined;
  return (await clientAdapter.isSecretOf(ctx, clientId, secret)) ? client : undefined;
}

/** Only what needs no decoding of its own: RFC 6749 §2.3.1 wants both parts form-encoded. */
function readBasic(authorization: string): [string | undefined, string | undefined] {
  const [, encoded] =
    /^Basic ((?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(authorization) ?? [];
  const [, clientId, secret] = /^([\w.~-]+):([\w.~-]+)$/.exec(Buffer.from(encoded ?? '', 'base64').toString()) ?? [];
  return [clientId, secret];
}

function withoutCredentials(params: Map<string, string>): Map<string, string> {
  params.delete('client_id');
  params.delete('client_secret');
  return params;
}
