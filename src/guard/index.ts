// `lanyard/guard`: what a resource server needs to accept only tokens that were issued to the clients it knows.
// This is the one barrel of the project, because it is what the package exports.

export { expressGuard, expressResourceMetadata } from './adapters/express.ts';
export { fastifyGuard, fastifyResourceMetadata } from './adapters/fastify.ts';
export { koaGuard, koaResourceMetadata } from './adapters/koa.ts';
export { type HttpRequestLike, type PresentedRequest, presented } from './credentials.ts';
export { createGuard, type Guard, type RouteRequirements } from './guard.ts';
export type { DpopOptions, GuardOptions, IntrospectionOptions, MetadataOptions } from './options.ts';
export type { Principal } from './principal.ts';
export { certificateFromHeader } from './proof-of-possession/certificate-header.ts';
export type { ReplayStore } from './proof-of-possession/replay-store.ts';
export { GuardRefusal, type RefusalCode } from './refusal.ts';
export type { ResourceMetadata } from './resource-metadata.ts';
