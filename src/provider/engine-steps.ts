// The second part of the list of engine-internals: the steps of the engine's endpoints. They are
// arrays of middlewares in modules that oidc-provider does not document, which a Provider reads
// when it is constructed. A step that is missing or new stops the start. Its two documents are
// functions in the same modules.
//
// At the token endpoint they authenticate the client, drop the parameters that the grant does not
// name, refuse those that occur twice, a grant type that is unknown or not allowed, a scope and
// authorization details (checkRar) that are malformed, and then call the grant. CORS comes before.
// Both transports run them, the fast path without those that can do nothing for the request.

import type { Context, Middleware, Next } from 'koa';
import compose from 'koa-compose';
import type Provider from 'oidc-provider';
import type { KoaContextWithOIDC } from 'oidc-provider';
// Without types of their own: engine-modules.d.ts.
import {
  discovery,
  endSession,
  introspection,
  jwks,
  revocation,
  token,
  userinfo,
} from 'oidc-provider/lib/actions/index.js';
import cors from 'oidc-provider/lib/shared/cors.js';
import getErrorHandler from 'oidc-provider/lib/shared/error_handler.js';
import { asEngineContext, changedEngine } from './engine-internals.ts';
import { ROUTES } from './routes.ts';

/** Where we make the answer. */
export type EndpointName = 'introspection' | 'userinfo' | 'revocation';
type Answer = (ctx: KoaContextWithOIDC) => Promise<void>;

type Endpoint = EndpointName | 'token';

const steps: Readonly<Record<Endpoint, Middleware[]>> = { introspection, revocation, token, userinfo };

const answers = new WeakMap<Provider, Readonly<Record<EndpointName, Answer>>>();

/** What makes the answers of this engine, in place of its own steps. */
export function answerWith(provider: Provider, own: Readonly<Record<EndpointName, Answer>>): void {
  answers.set(provider, own);
}

/**
 * What the steps do on the fast path. `transport`: reads the request or writes the answer, which it
 * does by itself. `on error`: does something when one after it throws, and nothing else.
 * `repetition`: does something for a parameter that occurs twice, which no plain request has. A step
 * that is named by a parameter does nothing for a request without it. `replaced`: ours takes its
 * place, on both transports.
 */
type Role = 'transport' | 'on error' | 'always' | 'repetition' | 'scope' | 'authorization_details' | 'replaced';

type Listed = readonly [step: string, role: Role];

/** Where a client sends a form and authenticates. */
const CLIENT_STEPS: readonly Listed[] = [
  ['noCache', 'transport'],
  ['urlencoded', 'transport'],
  ['assembleTokenParams', 'transport'],
  ['rejectClientAuthDupes', 'repetition'],
  ['setWWWAuthenticateHeader', 'on error'],
  ['authenticateClient', 'always'],
  ['bound rejectDupes', 'repetition'],
];

/** All steps of the engine, in their order. */
const ROLES: Readonly<Record<Endpoint, readonly Listed[]>> = {
  token: [
    ...CLIENT_STEPS,
    ['stripGrantIrrelevantParams', 'always'],
    ['supportedGrantTypeCheck', 'always'],
    ['allowedGrantTypeCheck', 'always'],
    ['rejectDupesOptionalExcept', 'repetition'],
    ['validateScope', 'scope'],
    ['checkRar', 'authorization_details'],
    ['ensureRarResource', 'authorization_details'],
    ['callTokenHandler', 'always'],
  ],
  introspection: [
    ...CLIENT_STEPS,
    ['validateTokenPresence', 'always'],
    // JWT access tokens can be introspected too (tokens/introspection).
    ['rejectStructuredTokens', 'replaced'],
    // RFC 9701: signs an answer for which the request must have asked by its header.
    ['jwtIntrospectionResponse', 'transport'],
    ['renderTokenResponse', 'replaced'],
  ],
  revocation: [
    ...CLIENT_STEPS.filter(([step]) => step !== 'noCache'),
    ['validateTokenPresence', 'always'],
    // JWT access tokens can be revoked too (tokens/revocation).
    ['rejectStructuredTokens', 'replaced'],
    ['renderTokenResponse', 'replaced'],
    ['revokeToken', 'replaced'],
  ],
  userinfo: [
    ['noCache', 'transport'],
    ['setWWWAuthenticateHeader', 'on error'],
    ['urlencoded', 'transport'],
    ['bound assembleParams', 'transport'],
    ['bound rejectDupes', 'repetition'],
    ['validateAccessToken', 'replaced'],
    ['validateAudience', 'replaced'],
    ['validateScope', 'replaced'],
    ['loadAccessTokenClient', 'replaced'],
    ['loadAccessTokenAccount', 'replaced'],
    ['loadAccessTokenGrant', 'replaced'],
    ['respond', 'replaced'],
  ],
};

for (const name of ['token', 'introspection', 'revocation', 'userinfo'] as const) {
  const listed = ROLES[name].map(([step]) => step).join(', ');
  const found = steps[name].map((step) => step.name).join(', ');
  if (found !== listed) throw changedEngine(`${name} endpoint with the steps ${listed} (it has ${found})`);
}
replaceIn('introspection');
replaceIn('revocation');
replaceIn('userinfo');

/** RFC 7662, RFC 7009, OpenID Connect Core §5.3. What the client has to prove is checked before. */
function replaceIn(name: EndpointName): void {
  const own = steps[name];
  const replaced = own.filter((step) => roleOf(name, step) === 'replaced');
  for (const step of replaced) remove(own, step.name);
  own.push((ctx) => {
    const { provider } = asEngineContext(ctx).oidc;
    const answer = answers.get(provider)?.[name];
    if (answer === undefined) throw new Error(`nothing answers at ${name}`);
    return answer(asEngineContext(ctx));
  });
}

function remove(steps: Middleware[], name: string): void {
  const index = steps.findIndex((step) => step.name === name);
  if (index === -1) throw changedEngine(`step ${name}`);
  steps.splice(index, 1);
}

/** What the engine does at the logout endpoint. */
const LOGOUT_STEPS = [
  ...['noCache', 'sessionHandler', 'urlencoded', 'bound assembleParams', 'bound rejectDupes', 'endSessionChecks'],
  ...['generateXsrf', 'renderLogout'],
];

if (endSession.init.map((step) => step.name).join() !== LOGOUT_STEPS.join()) {
  throw changedEngine(`logout endpoint with the steps ${LOGOUT_STEPS.join(', ')}`);
}
endSession.init.splice(LOGOUT_STEPS.indexOf('generateXsrf'), 0, goOnWithoutUser);

/** Nobody is signed in: nothing has to end. The engine would store a session, to destroy it with the next request. */
function goOnWithoutUser(ctx: Context, next: Next): Promise<unknown> | undefined {
  const { session, params = {}, provider } = asEngineContext(ctx).oidc;
  if (session?.accountId !== undefined) return next();
  const { post_logout_redirect_uri: target, state } = params;
  const url = new URL(typeof target === 'string' ? target : `${provider.issuer}${ROUTES.end_session}/success`);
  // RP-Initiated Logout §3: the state comes back with the user.
  if (target !== undefined && typeof state === 'string') url.searchParams.set('state', state);
  ctx.status = 303;
  ctx.redirect(url.href);
  return undefined;
}

/**
 * Of a pushed request object (RFC 9126 §3) the engine stores the object, without what was decided about
 * it. So it is renamed, and the parameters are stored; it counts for the size (policy/write-budget).
 */
export function storeAsUnderstood({ oidc: { route, body } }: KoaContextWithOIDC): void {
  if (route !== 'pushed_authorization_request' || body?.request === undefined) return;
  body['request as sent'] = body.request;
  delete body.request;
}

/** Our own answer has no name, and is for every request. */
function roleOf(name: Endpoint, { name: step }: Middleware): Role {
  return ROLES[name].find(([each]) => each === step)?.[1] ?? 'always';
}

export type Parameters = Readonly<Record<string, unknown>>;

export type RunSteps = (ctx: KoaContextWithOIDC, parameters: Parameters) => Promise<void>;

/**
 * What is between the body and the answer, without the steps that do nothing for the parameters, of
 * which none occurs twice. Errors are rendered as by the engine, with its event.
 */
export function endpointSteps(name: Endpoint, errorEvent: string): RunSteps {
  const withRoles = (...roles: Role[]) => steps[name].filter((step) => roles.includes(roleOf(name, step)));
  const onError = compose([getErrorHandler(errorEvent), ...withRoles('on error')]);
  const all = withRoles('always', 'scope', 'authorization_details');
  const withScope = withRoles('always', 'scope');
  const fewest = withRoles('always');
  return async (ctx, { authorization_details: details, scope }) => {
    try {
      await inOrder(details !== undefined ? all : scope !== undefined ? withScope : fewest, ctx);
    } catch (error) {
      await onError(ctx, () => Promise.reject(error));
    }
  };
}

const NOTHING = Promise.resolve();

/**
 * One after the other. A step that goes on at once, as most do, has nothing left to do and is not
 * waited for.
 */
async function inOrder(inner: readonly Middleware[], ctx: KoaContextWithOIDC): Promise<void> {
  let goesOn = false;
  const next = () => {
    goesOn = true;
    return NOTHING;
  };
  for (const step of inner) {
    goesOn = false;
    const running = step(ctx, next);
    if (!goesOn) await running;
  }
}

/** They write the documents that are the same for every request. */
const DOCUMENTS: Readonly<Record<'discovery' | 'jwks', (ctx: KoaContextWithOIDC) => void>> = { discovery, jwks };

/** Sets body and type. @param ctx of the route with that name */
export function writeDocument(ctx: KoaContextWithOIDC, name: keyof typeof DOCUMENTS): void {
  DOCUMENTS[name](ctx);
}

export { cors };
