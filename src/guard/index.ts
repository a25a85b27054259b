// `lanyard/guard`, the public interface of the guard for resource servers. It is the only barrel of
// the project, because the package exports it.

export type { AccessTokenType } from './access-token-type.ts';
export { expressGuard, expressResourceMetadata } from './adapters/express.ts';
export { fastifyGuard, fastifyResourceMetadata } from './adapters/fastify.ts';
export { koaGuard, koaResourceMetadata } from './adapters/koa.ts';
export { type HttpRequestLike, type PresentedRequest, presented, type SocketLike } from './credentials.ts';
export { createGuard, type Guard, type RouteRequirements } from './guard.ts';
export type { DpopOptions, GuardOptions, IntrospectionOptions, MetadataOptions } from './options.ts';
export type { Principal } from './principal.ts';
export { certificateFromHeader } from './proof-of-possession/certificate-header.ts';
export type { ReplayStore } from './proof-of-possession/replay-store.ts';
export { GuardRefusal, type RefusalCode } from './refusal.ts';
export type { ResourceMetadata } from './resource-metadata.ts';
