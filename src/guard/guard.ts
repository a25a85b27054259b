// The guard of a resource server: is this token valid, meant for this API, and issued to a client that this API accepts?
//
// It owns the order of the questions and the answer. How a token is verified is in jwt-verifier and introspection-verifier,
// which client it belongs to in client-binding, what a refusal looks like in refusal. koa, express and fastify hand requests
// over. In doubt it refuses: what is wrong with a token is 401 or 403, what keeps the guard from knowing is 503.

import { BindingError, ClientNotAllowedError } from '../client-binding.ts';
import { readBearerToken } from './bearer.ts';
import { createIntrospectionVerifier } from './introspection-verifier.ts';
import { createJwtVerifier } from './jwt-verifier.ts';
import { type GuardOptions, type GuardSettings, parseClientIds, parseOptions, parseScopes } from './options.ts';
import { type Principal, parsePrincipal, type Verifier } from './principal.ts';
import { Fault, GuardRefusal } from './refusal.ts';
import { createEndpointFinder, type EndpointName } from './remote.ts';

/** What one route asks for on top of what the guard asks for everywhere. It can only make the door narrower. */
export interface RouteRequirements {
  /** needed in addition to the scopes of the guard */
  readonly scopes?: readonly string[];
  /** the token's client must be on this list and on that of the guard */
  readonly clients?: readonly string[];
}

export interface Guard {
  /**
   * Decides about one request.
   * @param authorization the value of the Authorization header; all values if there were several
   * @returns who is calling
   * @throws GuardRefusal with the complete answer (RFC 6750 §3); TypeError for requirements that cannot be meant
   */
  check(authorization: string | readonly string[] | undefined, requirements?: RouteRequirements): Promise<Principal>;
}

/**
 * Creates a guard. Nothing is fetched before the first token, so that a resource server may start before its issuer.
 * @throws TypeError naming the option that is missing or cannot be meant, e.g. a symmetric signature algorithm
 */
export function createGuard(options: GuardOptions): Guard {
  const settings = parseOptions(options);
  const verify = createVerifier(settings);

  async function decide(
    authorization: string | readonly string[] | undefined,
    route: { scopes: readonly string[]; clients: readonly string[] | undefined },
  ): Promise<Principal> {
    const token = readBearerToken(authorization);
    const claims = await orUnavailable('the token cannot be verified', () => verify(token));
    const allowedClientIds = await orUnavailable('the allow-list is not available', () => allowedClients(settings));
    return parsePrincipal(claims, {
      ...settings,
      allowLists: route.clients === undefined ? [allowedClientIds] : [allowedClientIds, route.clients],
      scopes: route.scopes,
    });
  }

  return {
    async check(authorization, requirements = {}) {
      const route = {
        scopes: [...new Set([...settings.scopes, ...parseScopes(requirements.scopes ?? [])])],
        clients: requirements.clients === undefined ? undefined : parseClientIds(requirements.clients),
      };
      try {
        return await decide(authorization, route);
      } catch (error) {
        const refusal = new GuardRefusal(toFault(error), { realm: settings.realm, requiredScopes: route.scopes });
        settings.onRefusal?.(refusal);
        throw refusal;
      }
    },
  };
}

function createVerifier(settings: GuardSettings): Verifier {
  const { mode, introspection } = settings;
  if (typeof mode === 'object') {
    return async (token) => {
      const claims = await mode.verify(token);
      if (claims === undefined) throw new Fault('invalid_token', 'not valid for the verifier');
      return claims;
    };
  }
  const endpoint = (configured: string | undefined, name: EndpointName) =>
    configured === undefined
      ? createEndpointFinder(settings.issuer, name, settings.fetch)
      : async () => new URL(configured);
  if (mode === 'introspection' && introspection !== undefined) {
    const url = endpoint(introspection.endpoint, 'introspection_endpoint');
    return createIntrospectionVerifier(introspection, settings.fetch, url);
  }
  return createJwtVerifier(settings, endpoint(settings.jwksUri, 'jwks_uri'));
}

async function allowedClients({ clients }: GuardSettings): Promise<readonly string[]> {
  return typeof clients === 'function' ? parseClientIds(await clients()) : clients;
}

/** Fails closed: whatever is thrown, other than a judgement about the token, means that nobody could judge it. */
async function orUnavailable<T>(reason: string, ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault('temporarily_unavailable', reason, { cause: error });
  }
}

function toFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  if (error instanceof BindingError) return new Fault('invalid_token', error.message);
  if (error instanceof ClientNotAllowedError) {
    return new Fault('client_not_allowed', `issued to ${JSON.stringify(error.boundClientId)}`);
  }
  return new Fault('temporarily_unavailable', 'the guard failed', { cause: error });
}
