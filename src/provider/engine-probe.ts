// What of the engine only shows when it works. At every start an engine of its own, without network
// and database, is asked for the HTML, the errors and the behaviour on which engine-internals
// relies. That costs some 50 ms of processor time.

import { generateKeyPairSync } from 'node:crypto';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import Provider, { type Adapter, type AdapterPayload, type Configuration, errors } from 'oidc-provider';
import { extraClientMetadata } from './clients/engine-metadata.ts';
import {
  changedEngine,
  createClient,
  deviceProblemOf,
  faultyMemberOf,
  keyStoreOf,
  readEngineForm,
  readFormPostPage,
  replacedSessionId,
  useKeyStore,
} from './engine-internals.ts';
import type { DeviceProblem } from './engine-types.ts';

const CLIENT = { client_id: 'probe', token_endpoint_auth_method: 'none', grant_types: [], response_types: [] };
const FUTURE = 4_000_000_000;
const SESSION = { kind: 'Session', jti: 'a session', uid: 'a uid', accountId: 'a user', exp: FUTURE };
const XSRF = 'an xsrf value';
const CODE = { kind: 'DeviceCode', jti: 'a code', clientId: 'probe', exp: FUTURE };
const CODES: Readonly<Record<string, AdapterPayload>> = {
  VALID: CODE,
  EXPIRED: { ...CODE, exp: 1 },
  USED: { ...CODE, accountId: 'a user' },
};

/** What the engine did with one request. */
interface Observed {
  /** handed to a page of ours */
  form?: string;
  error?: Error | undefined;
  body?: unknown;
}

/**
 * @param Engine for the test of this check
 * @throws Error that says what this engine does in another way
 */
export async function probeEngine(Engine: typeof Provider = Provider): Promise<void> {
  const observed: Observed = {};
  const provider = new Engine('http://localhost', configurationOf(observed));
  provider.use(async (ctx, next) => {
    await next();
    observed.body = ctx.body;
  });
  const ask = (path: string, form?: Record<string, string>) => send(provider, observed, path, form);

  probeClients(provider);
  probeClientKeys(provider);
  probeSessions(provider);
  if (readFormPostPage((await ask('/device?user_code=VALID')).body) === undefined) {
    throw changedEngine('page of response_mode=form_post');
  }
  readEngineForm((await ask('/session/end')).form ?? '');
  readEngineForm((await ask('/device')).form ?? '');
  readEngineForm((await ask('/device', { xsrf: XSRF, user_code: 'VALID' })).form ?? '');
  await probeDeviceErrors(ask);
}

/** Without reading them, which would load what sends requests. */
function probeClientKeys(provider: Provider): void {
  const [client, other] = [1, 2].map(() => createClient(provider, { ...CLIENT, jwks_uri: 'https://localhost/keys' }));
  const store = client && keyStoreOf(client);
  if (store === undefined || other === undefined) throw changedEngine('Client.asymmetricKeyStore');
  for (const name of ['refresh', 'selectForVerify', 'clear', Symbol.iterator] as const) {
    if (typeof store[name] !== 'function') throw changedEngine(`Client.asymmetricKeyStore.${String(name)}`);
  }
  const isFreshUntil = (seconds: number) => Object.assign(store, { freshUntil: seconds }).fresh();
  if (isFreshUntil(1) || !isFreshUntil(FUTURE)) throw changedEngine('Client.asymmetricKeyStore.freshUntil');
  useKeyStore(other, store);
  if (keyStoreOf(other) !== store) throw changedEngine('Client.asymmetricKeyStore that can be replaced');
}

function probeSessions({ Session }: Provider): void {
  const session = new Session();
  const { jti: id } = session;
  session.resetIdentifier();
  if (session.jti === id || replacedSessionId(session) !== id) throw changedEngine('Session.oldId');
}

/** Members that a client must keep although the engine has no use for them. */
function probeClients(provider: Provider): void {
  const authorizationDetailsTypes = ['payment'];
  const client = createClient(provider, {
    ...{ ...CLIENT, authorizationDetailsTypes, tls_client_certificate_bound_access_tokens: true },
  });
  if (client.authorizationDetailsTypes?.[0] !== 'payment') throw changedEngine('Client.authorizationDetailsTypes');
  if (client.tlsClientCertificateBoundAccessTokens !== true) {
    throw changedEngine('Client.tlsClientCertificateBoundAccessTokens');
  }
  for (const faulty of [{ jwks: { keys: [1] } }, { redirect_uris: ['nonsense'] }]) {
    const metadata = { ...CLIENT, ...faulty };
    const [member] = Object.keys(faulty);
    if (faultyMemberOf(refusalOf(provider, metadata), metadata) !== member) {
      throw changedEngine('name of the faulty member in invalid_client_metadata');
    }
  }
}

function refusalOf(provider: Provider, metadata: object): string {
  try {
    createClient(provider, metadata);
    return '';
  } catch (error) {
    return error instanceof errors.InvalidClientMetadata ? (error.error_description ?? '') : '';
  }
}

const DEVICE_ERRORS: readonly (readonly [form: Record<string, string>, problem: DeviceProblem])[] = [
  [{}, 'missing'],
  [{ user_code: 'UNKNOWN' }, 'unknown'],
  [{ user_code: 'EXPIRED' }, 'expired'],
  [{ user_code: 'USED' }, 'used'],
  [{ user_code: 'VALID', abort: 'yes' }, 'aborted'],
];

async function probeDeviceErrors(
  ask: (path: string, form: Record<string, string>) => Promise<Observed>,
): Promise<void> {
  for (const [form, problem] of DEVICE_ERRORS) {
    const { error } = await ask('/device', { xsrf: XSRF, ...form });
    if (error === undefined || deviceProblemOf(error) !== problem)
      throw changedEngine(`error for a code that is ${problem}`);
  }
}

async function send(provider: Provider, observed: Observed, path: string, form?: Record<string, string>) {
  const request = new IncomingMessage(new Socket());
  Object.assign(request, { method: form === undefined ? 'GET' : 'POST', url: path });
  Object.assign(request.headers, { host: 'localhost', cookie: `${provider.cookieName('session')}=any` });
  if (form !== undefined) {
    const body = new URLSearchParams(form).toString();
    request.headers['content-type'] = 'application/x-www-form-urlencoded';
    request.headers['content-length'] = String(body.length);
    request.push(body);
    request.push(null);
  }
  delete observed.form;
  delete observed.error;
  await provider.callback()(request, new ServerResponse(request));
  return observed;
}

function configurationOf(observed: Observed): Configuration {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const showForm = (_ctx: unknown, form: string) => {
    observed.form = form;
  };
  const unsigned = { signed: false };
  return {
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), alg: 'ES256', kid: 'probe' }] },
    clientDefaults: {
      ...{ id_token_signed_response_alg: 'ES256', authorization_signed_response_alg: 'ES256' },
      introspection_signed_response_alg: 'ES256',
    },
    adapter: adapterOf,
    cookies: { keys: ['probe'], long: unsigned, short: unsigned },
    ttl: { Session: 60 },
    clientAuthMethods: ['none'],
    extraClientMetadata,
    features: {
      devInteractions: { enabled: false },
      resourceIndicators: { enabled: true, getResourceServerInfo: () => ({ scope: '' }) },
      rpInitiatedLogout: { enabled: true, logoutSource: showForm },
      deviceFlow: {
        enabled: true,
        userCodeConfirmSource: showForm,
        userCodeInputSource(_ctx, form, _out, error) {
          Object.assign(observed, { form, error });
        },
      },
    },
  } as Configuration;
}

function adapterOf(model: string): Adapter {
  return {
    async find() {
      if (model === 'Client') return CLIENT as AdapterPayload;
      return model === 'Session' ? { ...SESSION, state: { secret: XSRF } } : undefined;
    },
    findByUserCode: async (userCode) => CODES[userCode] && { ...CODES[userCode], userCode },
    findByUid: async () => undefined,
    upsert: async () => {},
    consume: async () => {},
    destroy: async () => {},
    revokeByGrantId: async () => {},
  };
}
