// `lanyard/guard`: what a resource server needs to accept only tokens that were issued to the clients it knows.
// This is the one barrel of the project, because it is what the package exports.

export { expressGuard } from './express.ts';
export { fastifyGuard } from './fastify.ts';
export { createGuard, type Guard, type RouteRequirements } from './guard.ts';
export { koaGuard } from './koa.ts';
export type { GuardOptions, IntrospectionOptions } from './options.ts';
export type { Principal } from './principal.ts';
export { GuardRefusal, type RefusalCode } from './refusal.ts';
