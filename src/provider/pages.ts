// The pages that the engine needs and does not make: whoever builds it brings them along (interaction/engine-pages).

import type { KoaContextWithOIDC } from 'oidc-provider';
import type { FormPost } from './form-post.ts';

export interface Pages {
  renderError(ctx: KoaContextWithOIDC, out: { error: string; error_description?: string }, error: Error): Promise<void>;
  renderLogout(ctx: KoaContextWithOIDC, form: { action: string; xsrf: string }): Promise<void>;
  renderSignedOut(ctx: KoaContextWithOIDC): Promise<void>;
  renderFormPost(ctx: KoaContextWithOIDC, form: FormPost): void;
}
