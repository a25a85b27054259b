// What the fuzzed requests are about: clients of every kind, and tokens of every kind in every
// state. Requests read these tokens; those that a request uses up are made for each request.

import { revoke, type TestClient } from '../admin.ts';
import { jwkWithCertificate, makeCertificate } from '../certificates.ts';
import { DEVICE_GRANT } from '../device.ts';
import { EXCHANGE } from '../exchange-chain.ts';
import { ALICE, CODE_FLOW, exchange, obtainCode, type Params, PUBLIC } from '../oauth.ts';
import { untilSecond } from '../patience.ts';
import { startTestServer, type TestServer } from '../server.ts';
import { dpopProof, newSigner, type Signer } from '../signing.ts';
import { createUserAgent, type UserAgent } from '../user-agent.ts';
import type { Header } from './raw-http.ts';
import { type Names, recordChanges } from './trace.ts';

export const APIS = { jwt: 'https://jwt.example', opaque: 'https://opaque.example', chain: 'https://chain.example' };
const FLASH = 'https://flash.example';
export const CERTIFICATE_HEADER = 'client-cert';
export const PAYMENT = { type: 'payment', amount: '12.50' };

export interface FuzzClient extends TestClient {
  readonly name: string;
  /** of its assertions */
  readonly signer?: Signer;
  /** the headers that a proxy adds for its certificate */
  readonly certificate?: Header;
  readonly bindsToKey?: boolean;
  readonly needsNonce?: boolean;
}

export interface PoolToken {
  readonly name: string;
  readonly value: string;
  /** it can be presented at userinfo by this key or certificate only */
  readonly isBound?: boolean;
  readonly certificate?: Header;
}

export interface World {
  readonly server: TestServer;
  readonly agent: UserAgent;
  readonly names: Names;
  readonly key: Signer;
  readonly otherKey: Signer;
  /** those that get tokens while the fuzzer runs */
  readonly clients: readonly FuzzClient[];
  /** may exchange the tokens of the chain API */
  readonly service: FuzzClient;
  readonly callers: readonly FuzzClient[];
  /** for introspection */
  readonly tokens: readonly PoolToken[];
  readonly userinfoTokens: readonly PoolToken[];
  readonly subjectTokens: readonly PoolToken[];
}

export async function openWorld(): Promise<World> {
  const server = await startTestServer({
    LANYARD_METRICS_PORT: '0',
    LANYARD_TRUST_PROXY: '127.0.0.1',
    LANYARD_CLIENT_CERTIFICATE_HEADER: CERTIFICATE_HEADER,
  });
  const clients = await createClients(server);
  const of = (name: string) => clients.find((client) => client.name === name) as FuzzClient;
  await createApis(server, clients, of('api'));
  const aliceId = await server.admin.createUser(ALICE.username, ALICE.password, {
    email: 'alice@example.com',
    claims: { name: 'Alice Ünïcode', address: { locality: 'Berlin' } },
  });
  const [key, otherKey] = [await newSigner(), await newSigner()];
  const agent = createUserAgent(server.issuer);
  const pool = await createTokens(server, agent, key, of);
  await recordChanges(server);
  const isOfPool = ({ name }: FuzzClient) => name.startsWith('pool') || ['api', 'service'].includes(name);
  return {
    ...{ server, agent, key, otherKey, ...pool },
    names: new Map([[aliceId, 'alice'], ...clients.map(({ clientId, name }): [string, string] => [clientId, name])]),
    clients: clients.filter((client) => !isOfPool(client)),
    service: of('service'),
    callers: ['api', 'pool', 'basic', 'post', 'public', 'assertion', 'certificate', 'disabled'].map(of),
  };
}

const GRANTS = [...CODE_FLOW.grant_types, 'client_credentials', DEVICE_GRANT];
const DETAILS = { authorization_details_types: ['payment'] };
const CONFIDENTIAL = { ...CODE_FLOW, ...DETAILS, grant_types: GRANTS };
const OPEN = { ...CODE_FLOW, ...PUBLIC, ...DETAILS, grant_types: [...CODE_FLOW.grant_types, DEVICE_GRANT] };

async function createClients({ admin }: TestServer): Promise<FuzzClient[]> {
  const signer = await newSigner();
  const certificate = makeCertificate({ subject: [['CN', 'fuzz']] });
  const certificateHeader: Header = [CERTIFICATE_HEADER, `:${certificate.der.toString('base64')}:`];
  const kinds: Record<string, [metadata: Record<string, unknown>, properties?: Partial<FuzzClient>]> = {
    basic: [CONFIDENTIAL],
    post: [{ ...CONFIDENTIAL, token_endpoint_auth_method: 'client_secret_post' }],
    'no PKCE': [{ ...CONFIDENTIAL, require_pkce: false }],
    'single API': [{ grant_types: ['client_credentials'] }],
    assertion: [
      { ...CONFIDENTIAL, token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [signer.publicJwk] } },
      { signer },
    ],
    certificate: [
      {
        ...CONFIDENTIAL,
        token_endpoint_auth_method: 'self_signed_tls_client_auth',
        tls_client_certificate_bound_access_tokens: true,
        jwks: { keys: [jwkWithCertificate(certificate)] },
      },
      { certificate: certificateHeader },
    ],
    public: [OPEN],
    'no grace': [{ ...OPEN, refresh_token_grace_seconds: 0 }],
    pairwise: [{ ...OPEN, grant_types: CODE_FLOW.grant_types, subject_type: 'pairwise' }],
    DPoP: [{ ...OPEN, dpop_bound_access_tokens: true }, { bindsToKey: true }],
    nonce: [
      { ...OPEN, dpop_bound_access_tokens: true, dpop_require_nonce: true },
      { bindsToKey: true, needsNonce: true },
    ],
    disabled: [CONFIDENTIAL],
    api: [{ grant_types: ['client_credentials'], introspection_signed_response_alg: 'ES256' }],
    service: [{ grant_types: ['client_credentials', EXCHANGE] }],
    pool: [CONFIDENTIAL],
    'pool narrowed': [CONFIDENTIAL],
    'pool disabled': [CONFIDENTIAL],
    'pool signed': [{ ...OPEN, userinfo_signed_response_alg: 'ES256' }],
    'pool pairwise': [{ ...OPEN, grant_types: CODE_FLOW.grant_types, subject_type: 'pairwise' }],
    'pool DPoP': [{ ...OPEN, dpop_bound_access_tokens: true }, { bindsToKey: true }],
    'pool revoked': [OPEN],
    'pool certificate': [
      { ...OPEN, tls_client_certificate_bound_access_tokens: true },
      { certificate: certificateHeader },
    ],
  };
  const clients: FuzzClient[] = [];
  for (const [name, [metadata, properties]] of Object.entries(kinds)) {
    clients.push({ name, ...(await admin.createClient(metadata)), ...properties });
  }
  return clients;
}

async function createApis({ admin }: TestServer, clients: readonly FuzzClient[], api: FuzzClient): Promise<void> {
  const service = clients.find(({ name }) => name === 'service') as FuzzClient;
  const members = {
    scopes: ['read', 'write', 'delete'],
    introspection_client_id: api.clientId,
    access_token_ttl_seconds: 300,
    authorization_details_types: {
      payment: { description: 'Pay', schema: { properties: { amount: { type: 'string' } }, required: ['amount'] } },
    },
  };
  const delegation = { max_depth: 3, allowed_clients: null };
  await admin.createApi(APIS.jwt, members);
  await admin.createApi(APIS.opaque, { ...members, access_token_format: 'opaque' });
  await admin.createApi(APIS.chain, {
    ...members,
    introspection_client_id: service.clientId,
    access_token_ttl_seconds: 86_000,
  });
  await admin.createApi(FLASH, { ...members, access_token_ttl_seconds: 1 });
  for (const identifier of [APIS.jwt, APIS.opaque]) {
    await admin.request('PATCH', `/resource-servers/${encodeURIComponent(identifier)}`, { delegation });
    const path = `/resource-servers/${encodeURIComponent(identifier)}/clients/${service.clientId}`;
    await admin.request('PUT', path, { scopes: ['read', 'write'], token_exchange: true });
  }
  for (const { name, clientId } of clients) {
    if (['api', 'service'].includes(name)) continue;
    const identifiers = name === 'single API' ? [APIS.jwt] : [APIS.jwt, APIS.opaque];
    const ofPool = name.startsWith('pool') ? [APIS.chain, FLASH] : [];
    for (const each of [...identifiers, ...ofPool]) await admin.allow(clientId, each, ['read', 'write']);
  }
  await admin.request('POST', `/clients/${clients.find(({ name }) => name === 'disabled')?.clientId}/disable`);
}

type Pool = Pick<World, 'tokens' | 'userinfoTokens' | 'subjectTokens'>;

async function createTokens(
  server: TestServer,
  agent: UserAgent,
  key: Signer,
  of: (name: string) => FuzzClient,
): Promise<Pool> {
  const tokens: PoolToken[] = [];
  const userinfoTokens: PoolToken[] = [];
  const subjectTokens: PoolToken[] = [];
  const obtain = async (name: string, params: Params) => {
    const client = of(name);
    const issued = await obtainCode(server, client, params, { agent });
    const { certificate } = client;
    const headers: Record<string, string> = certificate === undefined ? {} : { [certificate[0]]: certificate[1] };
    if (client.bindsToKey) headers.dpop = await dpopProof(key, { htm: 'POST', htu: `${server.issuer}/oauth2/token` });
    const { body } = await exchange(server, client, issued, {}, headers);
    if (body.access_token === undefined) throw new Error(`no token for ${name}: ${JSON.stringify(body)}`);
    return body as Record<'access_token' | 'refresh_token' | 'id_token', string>;
  };
  for (const name of ['pool', 'pool narrowed', 'pool disabled', 'pool DPoP', 'pool certificate']) {
    for (const resource of [APIS.jwt, APIS.opaque]) {
      const body = await obtain(name, { scope: 'openid read write', resource });
      for (const kind of ['access_token', 'refresh_token', 'id_token'] as const) {
        tokens.push({ name: `${kind} of ${name} for ${resource}`, value: body[kind] });
      }
      userinfoTokens.push({ name: `of ${name} for ${resource}`, value: body.access_token, ...presenting(of(name)) });
    }
  }
  for (const name of ['pool', 'pool signed', 'pool pairwise', 'pool DPoP', 'pool certificate']) {
    for (const scope of ['openid profile email', 'openid']) {
      const body = await obtain(name, {
        scope,
        claims: scope === 'openid' ? '{"userinfo":{"email":null}}' : undefined,
      });
      const token = { name: `for userinfo, of ${name}`, value: body.access_token };
      userinfoTokens.push({ ...token, ...presenting(of(name)) });
      tokens.push(token);
    }
  }
  for (const scope of ['openid read write', 'read']) {
    subjectTokens.push({ name: scope, value: (await obtain('pool', { scope, resource: APIS.chain })).access_token });
  }
  const flash = await obtain('pool', { scope: 'read', resource: FLASH });
  tokens.push({ name: 'expired', value: flash.access_token });
  const revoked = { name: 'revoked', value: (await obtain('pool revoked', {})).access_token };
  await revoke(server.issuer, of('pool revoked'), revoked.value);
  tokens.push(revoked);
  userinfoTokens.push(revoked);
  await server.admin.allow(of('pool narrowed').clientId, APIS.jwt, ['read']);
  await server.admin.request('POST', `/clients/${of('pool disabled').clientId}/disable`);
  await untilSecond(Math.floor(Date.now() / 1000) + 2);
  return { tokens, userinfoTokens, subjectTokens };
}

/** With what its tokens are presented at userinfo. */
function presenting({ certificate, bindsToKey: isBound }: FuzzClient): Pick<PoolToken, 'certificate' | 'isBound'> {
  return { ...(certificate && { certificate }), ...(isBound && { isBound }) };
}

/** What a replay revokes is then of its own request alone, and the new grant has no earlier consent. */
export async function forgetGrants({ server, clients }: World): Promise<void> {
  const clientIds = clients.map(({ clientId }) => clientId);
  await server.sql.query(`DELETE FROM oidc_artifacts WHERE model = 'Grant' AND client_id = ANY ($1)`, [clientIds]);
  await server.sql.query('DELETE FROM consents WHERE client_id = ANY ($1)', [clientIds]);
}
