// The pages that the engine needs and does not make. They are passed in when it is built
// (interaction/engine-pages).

import type { Client, KoaContextWithOIDC } from 'oidc-provider';
import type { DeviceProblem, EngineForm, FormPostPage } from '../engine-types.ts';

export interface DeviceRequest {
  readonly client: Client;
  /** from where the device asked */
  readonly address: string;
  readonly userCode: string;
  /** of the device's request */
  readonly params: Readonly<Record<string, unknown>>;
}

export interface Pages {
  renderError(ctx: KoaContextWithOIDC, out: { error: string; error_description?: string }, error: Error): Promise<void>;
  renderLogout(ctx: KoaContextWithOIDC, form: EngineForm): Promise<void>;
  renderSignedOut(ctx: KoaContextWithOIDC): Promise<void>;
  /** where a user types in the code that a device shows */
  renderUserCode(ctx: KoaContextWithOIDC, page: EngineForm & { problem: DeviceProblem | undefined }): Promise<void>;
  renderDeviceConfirmation(ctx: KoaContextWithOIDC, page: EngineForm & DeviceRequest): Promise<void>;
  renderDeviceDone(ctx: KoaContextWithOIDC): Promise<void>;
  renderTooManyGuesses(ctx: KoaContextWithOIDC, retryAfterSeconds: number): void;
  renderFormPost(ctx: KoaContextWithOIDC, form: FormPostPage): void;
}
