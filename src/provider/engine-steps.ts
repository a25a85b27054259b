// The second part of the list of engine-internals: the steps of the engine's endpoints. They are
// arrays of middlewares in modules that oidc-provider does not document, which a Provider reads
// when it is constructed. A step that is missing stops the start.
//
// At the token endpoint they authenticate the client, drop the parameters that the grant does not
// name, refuse those that occur twice, a grant type that is unknown or not allowed, a scope and
// authorization details (checkRar) that are malformed, and then call the grant. Both transports run
// them; CORS comes before.

import type { Middleware } from 'koa';
import type Provider from 'oidc-provider';
import type { KoaContextWithOIDC } from 'oidc-provider';
// Without types of their own: engine-modules.d.ts.
import { introspection, revocation, token, userinfo } from 'oidc-provider/lib/actions/index.js';
import cors from 'oidc-provider/lib/shared/cors.js';
import getErrorHandler from 'oidc-provider/lib/shared/error_handler.js';
import { asEngineContext, changedEngine } from './engine-internals.ts';

export type EndpointName = 'introspection' | 'userinfo';
type Answer = (ctx: KoaContextWithOIDC) => Promise<void>;

const steps: Readonly<Record<EndpointName | 'token', Middleware[]>> = { introspection, token, userinfo };

const answers = new WeakMap<Provider, Readonly<Record<EndpointName, Answer>>>();

/** What makes the answers of this engine, in place of its own steps. */
export function answerWith(provider: Provider, own: Readonly<Record<EndpointName, Answer>>): void {
  answers.set(provider, own);
}

/** How the engine reads a request and writes an answer: the fast path does both by itself. */
const TRANSPORT = ['noCache', 'urlencoded', 'jwtIntrospectionResponse', 'assembleTokenParams'];
for (const name of TRANSPORT) indexOf(introspection, name);
for (const name of ['urlencoded', 'assembleTokenParams']) indexOf(token, name);

/**
 * RFC 7662, OpenID Connect Core §5.3: what the client has to prove is checked before, a signature
 * (RFC 9701) is made after.
 */
endWith(introspection, 'renderTokenResponse', 'introspection');
endWith(userinfo, 'validateAccessToken', 'userinfo');
/** JWT access tokens are found by the adapter (tokens/jwt-access-tokens). */
remove(introspection, 'rejectStructuredTokens');
remove(revocation, 'rejectStructuredTokens');

/** @param first the first of the steps whose place is taken */
function endWith(steps: Middleware[], first: string, name: EndpointName): void {
  steps.splice(indexOf(steps, first), steps.length, (ctx) => {
    const { provider } = asEngineContext(ctx).oidc;
    const answer = answers.get(provider)?.[name];
    if (answer === undefined) throw new Error(`nothing answers at ${name}`);
    return answer(asEngineContext(ctx));
  });
}

function remove(steps: Middleware[], name: string): void {
  steps.splice(indexOf(steps, name), 1);
}

function indexOf(steps: Middleware[], name: string): number {
  const index = steps.findIndex((step) => step.name === name);
  if (index === -1) throw changedEngine(`step ${name}`);
  return index;
}

/** They look for parameters that occur twice, and do nothing when there are none. */
const ABOUT_REPETITION = ['rejectClientAuthDupes', 'bound rejectDupes', 'rejectDupesOptionalExcept'];
for (const name of ABOUT_REPETITION) indexOf(token, name);

/** The same steps for a request without a parameter that occurs twice. */
export function withoutRepetition(steps: readonly Middleware[]): Middleware[] {
  return steps.filter((step) => !ABOUT_REPETITION.includes(step.name));
}

/**
 * Errors as the engine renders them, with its event; then everything between the body and the
 * answer.
 */
export function endpointSteps(name: EndpointName | 'token', errorEvent: string): Middleware[] {
  return [getErrorHandler(errorEvent), ...steps[name].filter((step) => !TRANSPORT.includes(step.name))];
}

export { cors };
