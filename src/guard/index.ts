// `lanyard/guard`: what a resource server needs to accept only tokens that were issued to the clients it knows.
// This is the one barrel of the project, because it is what the package exports.

export { certificateFromHeader } from './certificate-header.ts';
export { type HttpRequestLike, type PresentedRequest, presented } from './credentials.ts';
export { expressGuard, expressResourceMetadata } from './express.ts';
export { fastifyGuard, fastifyResourceMetadata } from './fastify.ts';
export { createGuard, type Guard, type RouteRequirements } from './guard.ts';
export { koaGuard, koaResourceMetadata } from './koa.ts';
export type { DpopOptions, GuardOptions, IntrospectionOptions, MetadataOptions } from './options.ts';
export type { Principal } from './principal.ts';
export { GuardRefusal, type RefusalCode } from './refusal.ts';
export type { ReplayStore } from './replay-store.ts';
export type { ResourceMetadata } from './resource-metadata.ts';
