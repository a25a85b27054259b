// The guard of a resource server: a request passes if its token is valid, meant for this API, and
// issued to a client that this API accepts.
//
// This folder owns the order of the checks and the response to a refusal. jwt-verifier and
// introspection-verifier verify a token, client-binding names its client, refusal makes the
// response; adapters/ connects it to Koa, Express and Fastify. It runs in other servers, so it
// imports jose and client-binding only. It fails closed: a bad token is answered with 401 or 403,
// a token that cannot be verified with 503.

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

/** Requirements of one route, in addition to those of the guard. They cannot relax any of those. */
export interface RouteRequirements {
  /** required in addition to the scopes of the guard */
  readonly scopes?: readonly string[];
  /** the token's client must be on this list and on that of the guard */
  readonly clients?: readonly string[];
}

export interface Guard {
  /**
   * Checks one request.
   * @param request the value of the Authorization header (all values if there were several), which
   *   is enough for bearer tokens; for tokens that are bound to a key, `presented(req)`
   * @returns the caller
   * @throws GuardRefusal with the complete response (RFC 6750 §3)
   * @throws TypeError for invalid requirements
   */
  check(
    request: string | readonly string[] | undefined | PresentedRequest,
    requirements?: RouteRequirements,
  ): Promise<Principal>;
  /** Checks a Node request. The adapters use this. */
  checkRequest(request: HttpRequestLike, requirements?: RouteRequirements): Promise<Principal>;
  /** the document that the adapters serve (RFC 9728); undefined without the option `metadata` */
  readonly metadata: MetadataDocument | undefined;
}

/**
 * Creates a guard. It fetches nothing before the first token, so that a resource server may start
 * before its issuer.
 * @throws TypeError naming the option that is missing or invalid
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
    await orUnavailable('the store of used DPoP proofs is not available', async () => proven?.assertFirstUse());
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
      const fromNode = presented(request);
      const { clientCertificate } = settings;
      return check(
        clientCertificate === undefined ? fromNode : { ...fromNode, clientCertificate: clientCertificate(request) },
        requirements,
      );
    },
  };
}

function isPresented(request: string | readonly string[] | undefined | PresentedRequest): request is PresentedRequest {
  return typeof request === 'object' && !Array.isArray(request);
}

/** The schemes to offer: the one that was used, unless the token or the API requires DPoP. */
function schemesFor(fault: Fault, request: PresentedRequest, settings: GuardSettings): ChallengeContext['schemes'] {
  if (settings.constraint.isRequired || fault.scheme === 'DPoP') return ['DPoP'];
  if (fault.code === 'missing_token') return settings.dpop === undefined ? ['Bearer'] : ['Bearer', 'DPoP'];
  let scheme: Credentials['scheme'] = 'Bearer';
  try {
    ({ scheme } = readCredentials(request.authorization));
  } catch {
    // Credentials that cannot be read are answered as Bearer.
  }
  return [scheme];
}

function createVerifier(settings: GuardSettings): Verifier {
  const { mode, introspection } = settings;
  if (typeof mode === 'object') {
    return async (token) => {
      const claims = await mode.verify(token);
      if (claims === undefined) throw new Fault('invalid_token', 'refused by the verifier');
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

/** @returns undefined when the issuer's policy replaces the list */
async function allowedClients({ clients }: GuardSettings): Promise<readonly string[] | undefined> {
  if (clients === 'granted') return undefined;
  return typeof clients === 'function' ? parseClientIds(await clients()) : clients;
}

/** Fails closed: any error that is not a Fault means that the token could not be checked. */
async function orUnavailable<T>(reason: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
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
