// The guard as a Fastify hook.

import type { HttpRequestLike } from '../credentials.ts';
import type { Guard, RouteRequirements } from '../guard.ts';
import type { Principal } from '../principal.ts';
import { GuardRefusal } from '../refusal.ts';
import { answerMetadata } from '../resource-metadata.ts';

/** The members of a Fastify request that the guard uses; Fastify itself is not needed. */
export interface FastifyRequestLike {
  readonly headers: HttpRequestLike['headers'];
  readonly raw: Pick<HttpRequestLike, 'rawHeaders' | 'socket'>;
  readonly method: string;
  /** before `rewriteUrl` */
  readonly originalUrl?: string;
  readonly url: string;
  principal?: Principal;
}

export interface FastifyReplyLike {
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  send(body: unknown): unknown;
}

/**
 * Fastify hook for `onRequest` or `preHandler`: sets `request.principal` (Principal), or answers
 * with the refusal.
 * @throws any error that is not a GuardRefusal, for Fastify's error handling
 */
export function fastifyGuard(
  guard: Guard,
  requirements?: RouteRequirements,
): (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown> {
  return async (request, reply) => {
    try {
      request.principal = await guard.checkRequest(requestOf(request), requirements);
      return undefined;
    } catch (error) {
      if (!(error instanceof GuardRefusal)) throw error;
      reply.code(error.status);
      for (const [name, value] of Object.entries(error.headers)) reply.header(name, value);
      reply.send(error.body);
      // A hook that returns the reply keeps Fastify from running the handler.
      return reply;
    }
  };
}

/** Fastify hook for `onRequest` of the whole app: serves protected resource metadata (RFC 9728). */
export function fastifyResourceMetadata(
  guard: Guard,
): (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown> {
  return async (request, reply) => {
    const { method, headers, url, originalUrl } = request;
    const answer = answerMetadata(guard.metadata, { method, target: originalUrl ?? url, headers });
    if (answer === undefined) return undefined;
    reply.code(answer.status);
    for (const [name, value] of Object.entries(answer.headers)) reply.header(name, value);
    reply.send(answer.body ?? '');
    return reply;
  };
}

function requestOf({ headers, raw, method, url, originalUrl }: FastifyRequestLike): HttpRequestLike {
  return { headers, rawHeaders: raw.rawHeaders, socket: raw.socket, method, url, originalUrl: originalUrl ?? url };
}
