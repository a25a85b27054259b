// The types that oidc-provider's own leave out or narrow, for engine-internals: which methods are
// replaced, and what goes in and out.

import type { Context } from 'koa';
import type Provider from 'oidc-provider';
import type {
  AccessToken,
  AuthorizationCode,
  Client,
  ClientCredentials,
  Grant,
  IdToken,
  RefreshToken,
  ResponseType,
} from 'oidc-provider';

/** The context of a request: `ctx` is missing in the engine's type. */
type EngineContext = Provider['OIDCContext']['prototype'] & { readonly ctx: Context };

/** In no type of the engine. */
type GenerateTokenId = (this: { readonly format?: string | undefined }) => string;

interface ValidatedJwt {
  readonly header: Readonly<Record<string, unknown>>;
  readonly payload: Readonly<Record<string, unknown>>;
}

/** The methods that `overrideMethod` replaces. */
export interface ReplacedMethods {
  'Client.find': (this: unknown, clientId: string) => Client | undefined | Promise<Client | undefined>;
  'Client.prototype.compareClientSecret': (this: Client, presented: string) => Promise<boolean>;
  'Client.prototype.grantTypeAllowed': (this: Client, type: string) => boolean;
  'Client.prototype.responseTypeAllowed': (this: Client, type: ResponseType) => boolean;
  'Client.prototype.redirectUriAllowed': (this: Client, uri: string) => boolean;
  'Client.prototype.postLogoutRedirectUriAllowed': (this: Client, uri: string) => boolean;
  'Client.prototype.backchannelLogout': (this: Client, accountId: string, sid: string) => Promise<unknown>;
  'ReplayDetection.unique': (this: unknown, iss: string, jti: string, exp: number) => Promise<boolean>;
  'IdToken.prototype.issue': (this: IdToken, options: Parameters<IdToken['issue']>[0]) => Promise<string>;
  'IdToken.validate': (this: unknown, jwt: string, client: Client) => Promise<ValidatedJwt>;
  'AccessToken.prototype.generateTokenId': GenerateTokenId;
  'ClientCredentials.prototype.generateTokenId': GenerateTokenId;
  'RefreshToken.prototype.generateTokenId': GenerateTokenId;
  'OIDCContext.prototype.urlFor': (this: EngineContext, name: string, options?: Record<string, unknown>) => string;
  'OIDCContext.prototype.clientJwtAuthExpectedAudience': (this: EngineContext) => Set<string>;
}

/** The models that are built from stored payloads. */
export interface RevivedModels {
  AccessToken: AccessToken;
  AuthorizationCode: AuthorizationCode;
  ClientCredentials: ClientCredentials;
  RefreshToken: RefreshToken;
  Grant: Grant;
}

/** The keys of a client, which it reads from a `jwks_uri`. */
export interface ClientKeyStore extends Iterable<{ readonly 'x5t#S256'?: string }> {
  /** what the headers of the last answer say, a minute at least; seconds since 1970 */
  freshUntil?: number;
  /** false: may read again */
  fresh(): boolean;
  /** Reads, unless it is fresh. */
  refresh(): Promise<void>;
  selectForVerify(choice: { readonly alg: string; readonly kid?: string }): readonly object[];
  clear(): void;
}

/** Which claims an ID token gets. */
export interface ClaimsChoice {
  readonly scope: string;
  readonly mask: Readonly<Record<string, unknown>>;
  readonly rejected: readonly string[];
}

/** What our pages need of a form that the engine has made: both values are escaped by it. */
export interface EngineForm {
  readonly action: string;
  readonly xsrf: string;
}

/** The form that submits itself: HTML, escaped by the engine. */
export interface FormPostPage {
  readonly action: string;
  readonly inputs: string;
}

/** Why a user code leads nowhere. */
export type DeviceProblem = 'unknown' | 'expired' | 'used' | 'aborted' | 'missing' | 'failed';
