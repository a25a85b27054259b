// Types for the modules of oidc-provider that engine-internals and engine-steps import and that
// have none.

declare module 'oidc-provider/lib/helpers/als.js' {
  import type { AsyncLocalStorage } from 'node:async_hooks';
  import type { KoaContextWithOIDC } from 'oidc-provider';

  const als: AsyncLocalStorage<KoaContextWithOIDC>;
  export default als;
}

declare module 'oidc-provider/lib/actions/index.js' {
  import type { Middleware } from 'koa';
  import type { KoaContextWithOIDC } from 'oidc-provider';

  export function discovery(ctx: KoaContextWithOIDC): void;
  export function jwks(ctx: KoaContextWithOIDC): void;
  export const token: Middleware[];
  export const introspection: Middleware[];
  export const revocation: Middleware[];
  export const userinfo: Middleware[];
  export const endSession: { readonly init: Middleware[] };
  /** always the same array */
  export function getAuthorization(endpoint: string): Middleware[];
}

declare module 'oidc-provider/lib/shared/error_handler.js' {
  import type { Middleware } from 'koa';

  export default function getErrorHandler(eventName: string): Middleware;
}

declare module 'oidc-provider/lib/shared/cors.js' {
  import type { Middleware } from 'koa';

  export default function cors(options: {
    readonly clientBased: boolean;
    readonly allowMethods: string;
    readonly exposeHeaders: string;
  }): Middleware;
}
