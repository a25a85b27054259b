// The third part of the list of engine-internals: what is changed of authorization requests. The steps of their endpoints are arrays
// of middlewares, which a Provider reads when it is constructed; the members that a model stores are a list of names, which it reads
// when the first one is stored. What is missing stops the start.

import type Provider from 'oidc-provider';
import type { KoaContextWithOIDC } from 'oidc-provider';
// Without a type of its own: engine-modules.d.ts.
import { getAuthorization } from 'oidc-provider/lib/actions/index.js';
import { asEngineContext, changedEngine } from './engine-internals.ts';

/** Where a client says which scopes it wants. */
const ENDPOINTS = ['authorization', 'pushed_authorization_request', 'device_authorization'] as const;

/** Sees the scope as the client has sent it. @returns what is done when the engine has checked it */
export type ScopeCheck = (ctx: KoaContextWithOIDC) => () => void;

const scopeChecks = new WeakMap<Provider, ScopeCheck>();

/** The engine's check refuses scopes that the client may not ask for, and drops offline_access. */
export function checkScopesWith(provider: Provider, check: ScopeCheck): void {
  scopeChecks.set(provider, check);
}

for (const endpoint of ENDPOINTS) {
  const steps = getAuthorization(endpoint);
  const index = steps.findIndex(({ name }) => name === 'checkScope');
  const checkScope = steps[index];
  if (checkScope === undefined) throw changedEngine(`step checkScope of ${endpoint}`);
  steps[index] = (ctx, next) => {
    const engineContext = asEngineContext(ctx);
    const after = scopeChecks.get(engineContext.oidc.provider)?.(engineContext);
    return checkScope(ctx, () => {
      after?.();
      return next();
    });
  };
}

/** What an authorization request leads to. */
const SOURCES = ['AuthorizationCode', 'DeviceCode', 'RefreshToken'] as const;

/** Codes and refresh tokens of this engine store a member more. */
export function storeMember(provider: Provider, member: string): void {
  const lists = SOURCES.map((name) => {
    const { IN_PAYLOAD: members }: { readonly IN_PAYLOAD?: readonly string[] } = provider[name];
    if (!Array.isArray(members)) throw changedEngine(`${name}.IN_PAYLOAD`);
    return { model: provider[name], members };
  });
  for (const { model, members } of lists) {
    Object.defineProperty(model, 'IN_PAYLOAD', { value: [...members, member] });
  }
}
