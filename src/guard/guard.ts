// The guard of a resource server: is this token valid, meant for this API, and issued to a client that this API accepts?
//
// It owns the order of the questions and the answer. How a token is verified is in jwt-verifier and introspection-verifier,
// which client it belongs to in client-binding, what a refusal looks like in refusal. koa, express and fastify hand requests
// over. In doubt it refuses: what is wrong with a token is 401 or 403, what keeps the guard from knowing is 503.

import { BindingError, ClientNotAllowedError } from '../client-binding.ts';
import {
  type Credentials,
  type HttpRequestLike,
  type PresentedRequest,
  presented,
  readCredentials,
} from './credentials.ts';
import { createIntrospectionVerifier } from './introspection-verifier.ts';
import { createJwtVerifier } from './jwt-verifier.ts';
import { type GuardOptions, type GuardSettings, parseClientIds, parseOptions, parseScopes } from './options.ts';
import { type Principal, parsePrincipal, type Verifier } from './principal.ts';
import { assertPossession } from './proof-of-possession/sender-constraint.ts';
import { type ChallengeContext, Fault, GuardRefusal } from './refusal.ts';
import { createEndpointFinder, type EndpointName } from './remote.ts';
import { createMetadataDocument, type MetadataDocument } from './resource-metadata.ts';

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
   * @param request the value of the Authorization header (all values if there were several), which is enough for bearer tokens;
   *   or all that the request presents, for tokens that are bound to a key as well
   * @returns who is calling
   * @throws GuardRefusal with the complete answer (RFC 6750 §3); TypeError for requirements that cannot be meant
   */
  check(
    request: string | readonly string[] | undefined | PresentedRequest,
    requirements?: RouteRequirements,
  ): Promise<Principal>;
  /** The same for a request of Node's, which is what the adapters do. */
  checkRequest(request: HttpRequestLike, requirements?: RouteRequirements): Promise<Principal>;
  /** what the adapters serve (RFC 9728); undefined without the option `metadata` */
  readonly metadata: MetadataDocument | undefined;
}

/**
 * Creates a guard. Nothing is fetched before the first token, so that a resource server may start before its issuer.
 * @throws TypeError naming the option that is missing or cannot be meant, e.g. a symmetric signature algorithm
 */
export function createGuard(options: GuardOptions): Guard {
  const settings = parseOptions(options);
  const verify = createVerifier(settings);

  const metadata = createMetadataDocument(settings);

  async function decide(
    request: PresentedRequest,
    route: { scopes: readonly string[]; clients: readonly string[] | undefined },
  ): Promise<Principal> {
    const credentials = readCredentials(request.authorization);
    const claims = await orUnavailable('the token cannot be verified', () => verify(credentials.token));
    const allowedClientIds = await orUnavailable('the allow-list is not available', () => allowedClients(settings));
    const lists = [allowedClientIds, route.clients];
    const principal = parsePrincipal(claims, {
      ...settings,
      allowLists: lists.filter((list) => list !== undefined),
      scopes: route.scopes,
    });
    const proven = await assertPossession(claims, credentials, request, settings.constraint);
    await orUnavailable('the memory of DPoP proofs is not available', async () => proven?.assertFirstUse());
    return principal;
  }

  async function check(request: PresentedRequest, requirements: RouteRequirements = {}): Promise<Principal> {
    const route = {
      scopes: [...new Set([...settings.scopes, ...parseScopes(requirements.scopes ?? [])])],
      clients: requirements.clients === undefined ? undefined : parseClientIds(requirements.clients),
    };
    try {
      return await decide(request, route);
    } catch (error) {
      const fault = toFault(error);
      const refusal = new GuardRefusal(fault, {
        realm: settings.realm,
        requiredScopes: route.scopes,
        schemes: schemesFor(fault, request, settings),
        dpopAlgorithms: settings.constraint.proofs.algorithms,
        metadataUrl: metadata?.url,
      });
      settings.onRefusal?.(refusal);
      throw refusal;
    }
  }

  return {
    metadata,
    check: (request, requirements) => check(isPresented(request) ? request : { authorization: request }, requirements),
    checkRequest(request, requirements) {
      const shown = presented(request);
      const { clientCertificate } = settings;
      return check(
        clientCertificate === undefined ? shown : { ...shown, clientCertificate: clientCertificate(request) },
        requirements,
      );
    },
  };
}

function isPresented(request: string | readonly string[] | undefined | PresentedRequest): request is PresentedRequest {
  return typeof request === 'object' && !Array.isArray(request);
}

/** With which scheme the caller should come back: the one it used, unless the token or the API wants a proof. */
function schemesFor(fault: Fault, request: PresentedRequest, settings: GuardSettings): ChallengeContext['schemes'] {
  if (settings.constraint.isRequired || fault.scheme === 'DPoP') return ['DPoP'];
  if (fault.code === 'missing_token') return settings.dpop === undefined ? ['Bearer'] : ['Bearer', 'DPoP'];
  let scheme: Credentials['scheme'] = 'Bearer';
  try {
    ({ scheme } = readCredentials(request.authorization));
  } catch {
    // What cannot be read was no proof of anything.
  }
  return [scheme];
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

/** @returns undefined when the issuer's policy is the list */
async function allowedClients({ clients }: GuardSettings): Promise<readonly string[] | undefined> {
  if (clients === 'granted') return undefined;
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
