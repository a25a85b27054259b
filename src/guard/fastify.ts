// The guard as a Fastify hook: hands the request over, and answers with the refusal.

import { authorizationOf, type HttpRequestLike } from './bearer.ts';
import type { Guard, RouteRequirements } from './guard.ts';
import type { Principal } from './principal.ts';
import { GuardRefusal } from './refusal.ts';

/** The members of a Fastify request that the guard uses; Fastify itself is not needed. */
export interface FastifyRequestLike {
  readonly headers: HttpRequestLike['headers'];
  readonly raw: Pick<HttpRequestLike, 'rawHeaders'>;
  principal?: Principal;
}

export interface FastifyReplyLike {
  code(status: number): unknown;
  header(name: string, value: string): unknown;
  send(body: unknown): unknown;
}

/**
 * Fastify hook for `onRequest` or `preHandler`: sets `request.principal` (Principal), or answers with the refusal.
 * @throws whatever is not a GuardRefusal, for Fastify's own error handling
 */
export function fastifyGuard(
  guard: Guard,
  requirements?: RouteRequirements,
): (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown> {
  return async (request, reply) => {
    try {
      const { rawHeaders } = request.raw;
      request.principal = await guard.check(authorizationOf({ headers: request.headers, rawHeaders }), requirements);
      return undefined;
    } catch (error) {
      if (!(error instanceof GuardRefusal)) throw error;
      reply.code(error.status);
      for (const [name, value] of Object.entries(error.headers)) reply.header(name, value);
      reply.send(error.body);
      // Tells Fastify that the answer is on its way and the handler must not run.
      return reply;
    }
  };
}
