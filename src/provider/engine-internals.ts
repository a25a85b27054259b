// All that Lanyard replaces, calls or reads of oidc-provider outside its documented interface: the list to go through at an upgrade, with
// engine-steps and engine-authorization. A renamed member stops the start; engine-probe tries what shows only when the engine works.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from 'koa';
import Provider, {
  type Client,
  errors,
  type IdToken,
  type KoaContextWithOIDC,
  type TokenEndpointGrantContext,
} from 'oidc-provider';
// Without a type of its own: engine-modules.d.ts.
import als from 'oidc-provider/lib/helpers/als.js';
// Made for custom grants, but outside of semantic versioning.
import * as grantHelpers from 'oidc-provider/lib/helpers/grants.js';
import type {
  ClaimsChoice,
  ClientKeyStore,
  DeviceProblem,
  EngineForm,
  FormPostPage,
  ReplacedMethods,
  RevivedModels,
} from './engine-types.ts';

const WRITTEN_AGAINST = '9.13';

/** By member: which file needs it, and why. */
type Uses<Member extends string = string> = Readonly<Record<Member, readonly [file: string, reason: string]>>;

// 1. Methods that are replaced. Their types are in engine-types.

const REPLACED: Uses<keyof ReplacedMethods> = {
  'Client.find': ['clients/client-adapter', 'one instance for each revision of a client, without hashing its metadata'],
  'Client.prototype.compareClientSecret': ['clients/client-adapter', 'secrets are stored as hashes'],
  'Client.prototype.grantTypeAllowed': ['clients/unauthorized-client', 'RFC 6749 §5.2: unauthorized_client'],
  'Client.prototype.responseTypeAllowed': ['clients/unauthorized-client', 'RFC 6749 §4.1.2.1: unauthorized_client'],
  'Client.prototype.redirectUriAllowed': ['clients/redirect-uris', 'a free port for public clients (RFC 8252 §7.3)'],
  'Client.prototype.postLogoutRedirectUriAllowed': ['clients/redirect-uris', 'the same'],
  'Client.prototype.backchannelLogout': ['logout/logout-notices', 'notices are jobs and survive a crash'],
  'ReplayDetection.unique': ['configuration/replay-detection', 'one INSERT decides, on all nodes'],
  'IdToken.prototype.issue': ['tokens/binding-hooks', 'no ID token without azp'],
  'IdToken.validate': ['tokens/binding-hooks', 'no other JWT of ours as id_token_hint'],
  'AccessToken.prototype.generateTokenId': ['tokens/token-prefixes', 'secret scanners find leaked tokens'],
  'ClientCredentials.prototype.generateTokenId': ['tokens/token-prefixes', 'the same'],
  'RefreshToken.prototype.generateTokenId': ['tokens/token-prefixes', 'the same'],
  'OIDCContext.prototype.urlFor': ['clients/mutual-tls', 'RFC 8705 §5: a DPoP proof may name an alias'],
  'OIDCContext.prototype.clientJwtAuthExpectedAudience': ['configuration/assertion-audience', 'no other endpoint'],
};

/** @param make gets the method of the engine and makes the one in its place @returns the former */
export function overrideMethod<Path extends keyof ReplacedMethods>(
  provider: Provider,
  path: Path,
  make: (original: ReplacedMethods[Path]) => ReplacedMethods[Path],
): ReplacedMethods[Path] {
  const { owner, name } = ownerOf(provider, path);
  const original = owner[name] as ReplacedMethods[Path];
  owner[name] = make(original);
  return original;
}

// 2. Classes, methods and functions that are called.

const CALLED: Uses = {
  'constructor.ctx': ['here', '`currentContext`'],
  createContext: ['here', '`createEngineContext`'],
  OIDCContext: ['here', '`createEngineContext`'],
  'OIDCContext.prototype.entity': ['tokens/userinfo', 'names client and token to CORS and WWW-Authenticate'],
  'OIDCContext.prototype.getAccessToken': ['tokens/userinfo', 'RFC 6750 §2'],
  Claims: ['tokens/userinfo', 'which claims a scope brings'],
  ResourceServer: ['grants', 'gives a token its audience, format and lifetime'],
  Client: ['here', '`createClient`'],
  'Client.validate': ['clients/engine-metadata', 'the document at sector_identifier_uri'],
  'Client.prototype.metadata': ['clients/metadata-document-store', 'a metadata document as the engine understood it'],
  IdToken: ['here', '`createIdToken`'],
  'Session.get': ['interaction/engine-pages', 'whether the browser is still signed in'],
  'Session.prototype.resetIdentifier': ['here', '`replacedSessionId`: engine-probe looks at what it does'],
};

const REVIVED_MODELS = ['AccessToken', 'AuthorizationCode', 'ClientCredentials', 'RefreshToken', 'Grant'];
const GRANT_HELPERS = ['validateDpop', 'checkDpopReplay'];

/** RFC 9449 §4.3. @returns undefined if there is no proof */
export function validateDpop(provider: Provider, ctx: KoaContextWithOIDC, accessToken?: string) {
  if (ctx.req.headers.dpop === undefined) return undefined;
  return grantHelpers.validateDpop(provider, ctx as TokenEndpointGrantContext, accessToken);
}

export type DpopProof = Awaited<ReturnType<typeof validateDpop>>;

/** RFC 9449 §11.1. Does nothing without a proof. */
export function checkDpopReplay(
  provider: Provider,
  ctx: KoaContextWithOIDC,
  proof: DpopProof,
  clientId: string | undefined,
): Promise<void> {
  return grantHelpers.checkDpopReplay(provider, ctx as TokenEndpointGrantContext, proof, clientId ?? '');
}

/** @throws Error that names the first member which this engine does not have */
export function assertEngineInternals(provider: Provider, helpers: object = grantHelpers): void {
  for (const path of [...Object.keys(REPLACED), ...Object.keys(CALLED), ...REVIVED_MODELS]) {
    if (!hasMember(provider, path)) throw changedEngine(path);
  }
  for (const name of GRANT_HELPERS) if (!hasMember(helpers, name)) throw changedEngine(name);
}

export function changedEngine(missing: string): Error {
  return new Error(`oidc-provider has no ${missing}; Lanyard was written against ${WRITTEN_AGAINST}`);
}

function hasMember(root: object, path: string): boolean {
  const { owner, name } = ownerOf(root, path);
  // A getter that has a value during requests only.
  return path === 'constructor.ctx' ? name in owner : typeof owner[name] === 'function';
}

function ownerOf(root: object, path: string): { owner: Record<string, unknown>; name: string } {
  const names = path.split('.');
  const name = names.pop() as string;
  const owner = names.reduce<unknown>((each, next) => (each as Record<string, unknown> | undefined)?.[next], root);
  return { owner: (owner ?? {}) as Record<string, unknown>, name };
}

/** The request that is underway. @returns undefined outside of the engine's routes */
export const currentContext = (): KoaContextWithOIDC | undefined => Provider.ctx;

/** Of this request's session, if the engine gave it another id: it destroys this one, then saves. */
export function replacedSessionId(session: object | undefined = currentContext()?.oidc.session): string | undefined {
  return (session as { oldId?: string } | undefined)?.oldId;
}

/** Koa's type has no `oidc`, which is there once a route of the engine has matched. */
export const asEngineContext = (ctx: Context) => ctx as unknown as KoaContextWithOIDC;

/** For a request that does not pass the engine's router. @param route its name, e.g. `token` */
export function createEngineContext(
  provider: Provider,
  request: IncomingMessage,
  response: ServerResponse,
  route: string,
): KoaContextWithOIDC {
  const ctx = Object.assign(provider.createContext(request, response), { _matchedRouteName: route });
  return Object.assign(asEngineContext(ctx), { oidc: new provider.OIDCContext(asEngineContext(ctx)) });
}

/** Makes it the `currentContext` of the work. */
export const runInContext = <T>(ctx: KoaContextWithOIDC, work: () => Promise<T>): Promise<T> => als.run(ctx, work);

/** @throws OIDCProviderError when the engine's schema refuses the metadata */
export function createClient(provider: Provider, metadata: object): Client {
  const Created = provider.Client as unknown as new (metadata: object) => Client;
  return new Created(metadata);
}

/** The model of a stored payload, as the engine's `find` makes it. */
export function reviveModel<Model extends keyof RevivedModels>(
  provider: Provider,
  model: Model,
  payload: Readonly<Record<string, unknown>>,
): RevivedModels[Model] {
  const Revived = provider[model] as unknown as new (payload: object) => RevivedModels[Model];
  return new Revived(payload);
}

/** @param choice members that the engine's types leave out */
export function createIdToken(
  provider: Provider,
  available: Record<string, unknown>,
  context: { readonly client: Client; readonly ctx?: KoaContextWithOIDC },
  choice: ClaimsChoice,
): IdToken {
  return Object.assign(new provider.IdToken(available, context), choice);
}

// 3. What is read of its HTML.

/** The forms of a logout and of the device flow. @throws Error when the HTML is another one */
export function readEngineForm(html: string): EngineForm {
  const action = /action="([^"]*)"/.exec(html)?.[1];
  const xsrf = /name="xsrf" value="([^"]*)"/.exec(html)?.[1];
  if (action === undefined || xsrf === undefined) throw changedEngine('form with action and xsrf');
  return { action, xsrf };
}

/** The page that submits a form by itself. @returns undefined for every other body */
export function readFormPostPage(body: unknown): FormPostPage | undefined {
  if (typeof body !== 'string' || !body.includes('<title>Submitting Callback</title>')) return undefined;
  const [, action, inputs] = /<form method="post" action="([^"]+)">(.*?)<noscript>/s.exec(body) ?? [];
  if (action === undefined || inputs === undefined) throw changedEngine('page of response_mode=form_post');
  return { action, inputs };
}

// 4. What is read of its errors.

/** The cookie and the stored interaction or session do not fit (any more). */
export const isSessionNotFound = (error: unknown): boolean => error instanceof errors.SessionNotFound;

/** `error.name`: the classes are not exported. */
export const DEVICE_PROBLEMS: Readonly<Record<string, DeviceProblem>> = {
  NotFoundError: 'unknown',
  ExpiredError: 'expired',
  AlreadyUsedError: 'used',
  AbortedError: 'aborted',
  NoCodeError: 'missing',
};

/** At the page where a user code is typed in. */
export const deviceProblemOf = (error: Error): DeviceProblem => DEVICE_PROBLEMS[error.name] ?? 'failed';

/** Which member of the metadata the English sentence of an `invalid_client_metadata` is about. */
export function faultyMemberOf(sentence: string, metadata: object): string {
  if (/JSON Web Key Set/i.test(sentence)) return 'jwks';
  const words = sentence.split(/[^a-z_]+/);
  return words.find((word) => word.includes('_') || word in metadata) ?? '';
}

// 5. How it sends requests.

/** If a metadata document is fetched in another way, its client is refused (`allowClient`). */
export const isDocumentFetch = ({ method, redirect }: RequestInit) => method === 'GET' && redirect === 'manual';

// 6. How it keeps the keys at a `jwks_uri`. Those of a client are made when it first needs them.

export const keyStoreOf = (client: Client): ClientKeyStore =>
  (client as Client & { readonly asymmetricKeyStore: ClientKeyStore }).asymmetricKeyStore;

/** Has no effect on a client that has made its own. */
export const useKeyStore = (client: Client, store: ClientKeyStore): void =>
  void Reflect.defineProperty(client, 'asymmetricKeyStore', { value: store });

// 7. How it reads a body.

/** Lets the engine read this body as it reads every other. A `req.body` it would take too, with a warning on the console. */
export function provideBody(request: IncomingMessage, text: string): void {
  const body = Buffer.from(text);
  request.headers['content-length'] = String(body.length);
  // By a `charset` it would decode other characters than those that were checked.
  request.headers['content-type'] = 'application/x-www-form-urlencoded';
  Object.defineProperty(request, 'readable', { value: true, configurable: true });
  Object.defineProperty(request, 'iterator', {
    configurable: true,
    value: async function* () {
      yield body;
    },
  });
}
