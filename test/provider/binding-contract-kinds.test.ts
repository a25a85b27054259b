// The claim contract (see binding-contract) for every kind of client: with a DPoP key, with a certificate, with subjects of its own,
// registered by itself, known by an address. A kind of client or key that takes another way through the engine must not come out
// without the binding at the other end.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import { type Answer, introspect, postForm, type TestClient, toAnswer } from '../support/admin.ts';
import { makeCertificate } from '../support/certificates.ts';
import { approveDevice, DEVICE_GRANT } from '../support/device.ts';
import { type DocumentHost, startDocumentHost } from '../support/document-host.ts';
import { ACCESS_TOKEN, EXCHANGE } from '../support/exchange-chain.ts';
import { ALICE, CODE_FLOW, obtainCode, PUBLIC, REDIRECT_URI, toTokens, type UserTokens } from '../support/oauth.ts';
import { freePort, startTestServer, type TestServer } from '../support/server.ts';
import { dpopProof, newSigner, type Signer } from '../support/signing.ts';
import { sendOverTls } from '../support/tls-client.ts';

const APIS = { jwt: 'https://jwt.example', opaque: 'https://opaque.example' } as const;
type Format = keyof typeof APIS;
const USER_GRANTS = [...CODE_FLOW.grant_types, DEVICE_GRANT];
const ALL_GRANTS = [...USER_GRANTS, 'client_credentials', EXCHANGE];

const tls = makeCertificate({ subject: [['CN', 'lanyard']], dns: ['localhost'], isAuthority: true });
const certificate = makeCertificate({ subject: [['CN', 'bound']] });

let folder: string;
let server: TestServer;
let origin: string;
let documents: DocumentHost;
let introspector: TestClient;
let signer: Signer;

beforeAll(async () => {
  signer = await newSigner();
  documents = await startDocumentHost((_request, response) => {
    const document = { ...CODE_FLOW, ...PUBLIC, client_id: documentUri(), client_name: 'Agent' };
    response.setHeader('content-type', 'application/json').end(JSON.stringify(document));
  });
  folder = await mkdtemp(join(tmpdir(), 'lanyard-kinds-'));
  for (const name of ['cert', 'key'] as const) await writeFile(join(folder, name), tls[name]);
  const tlsPort = await freePort();
  origin = `https://localhost:${tlsPort}`;
  server = await startTestServer({
    LANYARD_TLS_PORT: String(tlsPort),
    LANYARD_TLS_CERT_FILE: join(folder, 'cert'),
    LANYARD_TLS_KEY_FILE: join(folder, 'key'),
    LANYARD_MTLS_ORIGIN: origin,
    LANYARD_CLIENT_METADATA_HOSTS: documents.host,
    LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS: documents.host,
    LANYARD_DANGER_OPEN_REGISTRATION: 'true',
  });
  await server.admin.createUser(ALICE.username, ALICE.password);
  introspector = await server.admin.createClient();
  for (const format of ['jwt', 'opaque'] as const) {
    await server.admin.createApi(APIS[format], {
      scopes: ['read'],
      access_token_format: format,
      introspection_client_id: introspector.clientId,
      delegation: { max_depth: 1, allowed_clients: null },
      self_registered_clients: { scopes: ['read'] },
    });
  }
});
afterAll(async () => {
  documents.close();
  await server.stop();
  await rm(folder, { recursive: true });
});

const documentUri = () => `https://${documents.host}/agent.json`;

type Send = (path: string, form: Record<string, string>) => Promise<Answer>;
interface Kind {
  readonly client: TestClient;
  readonly send: Send;
  /** what its tokens are bound to beside the client */
  readonly cnf?: object;
}

async function registered(members: Record<string, unknown>): Promise<TestClient> {
  const client = await server.admin.createClient({ ...CODE_FLOW, ...members });
  for (const api of Object.values(APIS)) {
    const path = `/resource-servers/${encodeURIComponent(api)}/clients/${client.clientId}`;
    await server.admin.request('PUT', path, { scopes: ['read'], token_exchange: true });
  }
  return client;
}

const plainly =
  (client: TestClient): Send =>
  (path, form) =>
    postForm(`${server.issuer}${path}`, client, form);
const withKey =
  (client: TestClient): Send =>
  async (path, form) => {
    const htu = `${server.issuer}${path}`;
    return postForm(htu, client, form, { dpop: await dpopProof(signer, { htm: 'POST', htu }) });
  };
const withCertificate =
  ({ clientId, clientSecret }: TestClient): Send =>
  (path, form) => {
    const credentials = { client_id: clientId, client_secret: clientSecret };
    return sendOverTls({ origin, ca: tls.cert, certificate, path, form: { ...form, ...credentials } });
  };

const KINDS: Record<string, () => Promise<Kind>> = {
  async 'with a DPoP key'() {
    const client = await registered({ grant_types: ALL_GRANTS, dpop_bound_access_tokens: true });
    return { client, send: withKey(client), cnf: { jkt: signer.thumbprint } };
  },
  async 'public, with a DPoP key'() {
    const client = await registered({ ...PUBLIC, grant_types: USER_GRANTS });
    return { client, send: withKey(client), cnf: { jkt: signer.thumbprint } };
  },
  async 'with a certificate'() {
    const members = {
      tls_client_certificate_bound_access_tokens: true,
      token_endpoint_auth_method: 'client_secret_post',
    };
    const client = await registered({ ...members, grant_types: ALL_GRANTS });
    return { client, send: withCertificate(client), cnf: { 'x5t#S256': expect.any(String) } };
  },
  async 'with subjects of its own'() {
    // With the device flow it would have to name a jwks_uri: the engine takes the sector from there.
    const grantTypes = ALL_GRANTS.filter((grant) => grant !== DEVICE_GRANT);
    const client = await registered({ grant_types: grantTypes, subject_type: 'pairwise' });
    return { client, send: plainly(client) };
  },
  async 'registered by itself'() {
    const answer = await fetch(`${server.issuer}/oauth2/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ ...CODE_FLOW, ...PUBLIC, grant_types: USER_GRANTS }),
    });
    const client = { clientId: (await toAnswer(answer)).body.client_id as string, clientSecret: '' };
    return { client, send: plainly(client) };
  },
  async 'known by an address'() {
    const client = { clientId: documentUri(), clientSecret: '' };
    return { client, send: plainly(client) };
  },
};

const GRANTS: Record<string, (kind: Kind, format: Format) => Promise<Answer>> = {
  client_credentials: ({ send }, format) =>
    send('/oauth2/token', { grant_type: 'client_credentials', resource: APIS[format] }),
  async authorization_code({ client, send }, format) {
    const asked = { scope: 'openid read offline_access', prompt: 'consent', resource: APIS[format] };
    const { code, verifier } = await obtainCode(server, client, asked);
    const form = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: REDIRECT_URI };
    return send('/oauth2/token', form);
  },
  async refresh_token(kind, format) {
    const { refreshToken } = toTokens((await GRANTS.authorization_code?.(kind, format)) as Answer);
    return kind.send('/oauth2/token', { grant_type: 'refresh_token', refresh_token: refreshToken });
  },
  async device_code({ send }, format) {
    const asked = { scope: 'openid read offline_access', resource: APIS[format] };
    const { body } = await send('/oauth2/device_authorization', asked);
    await approveDevice(server.issuer, body.user_code as string);
    return send('/oauth2/token', { grant_type: DEVICE_GRANT, device_code: body.device_code as string });
  },
  async 'token exchange'(kind, format) {
    const from = format === 'jwt' ? 'opaque' : 'jwt';
    const { accessToken } = toTokens((await GRANTS.authorization_code?.(kind, from)) as Answer);
    const subject = { subject_token: accessToken, subject_token_type: ACCESS_TOKEN, resource: APIS[format] };
    return kind.send('/oauth2/token', { grant_type: EXCHANGE, ...subject });
  },
};

const OF_USERS = ['authorization_code', 'refresh_token', 'device_code'];
const ALL = ['client_credentials', ...OF_USERS, 'token exchange'];
const MATRIX: [string, readonly string[]][] = [
  ['with a DPoP key', ALL],
  ['public, with a DPoP key', OF_USERS],
  ['with a certificate', ALL],
  ['with subjects of its own', ALL.filter((grant) => grant !== 'device_code')],
  ['registered by itself', OF_USERS],
  ['known by an address', ['authorization_code', 'refresh_token']],
];

const CASES = MATRIX.flatMap(([name, grants]) =>
  grants.flatMap((grant) => [[name, grant, 'jwt'] as const, [name, grant, 'opaque'] as const]),
);

describe.each(CASES)('a client %s, %s, %s', (name, grant, format) => {
  test('its access and refresh tokens name it twice, in every place, and its ID tokens once', async () => {
    const kind = await (KINDS[name] as () => Promise<Kind>)();
    const { clientId } = kind.client;
    const binding = { client_id: clientId, azp: clientId };
    const cnf = kind.cnf === undefined ? {} : { cnf: kind.cnf };
    const answer = await (GRANTS[grant] as (typeof GRANTS)[string])(kind, format);
    const { accessToken, refreshToken, idToken } = toTokens(answer) as Partial<UserTokens> & UserTokens;

    if (format === 'jwt') expect(decodeJwt(accessToken)).toMatchObject({ ...binding, ...cnf, aud: APIS.jwt });
    else expect(accessToken).toMatch(/^ly[ac]_/);
    const { body } = await introspect(server.issuer, introspector, accessToken);
    const scope = OF_USERS.includes(grant) ? 'openid offline_access read' : 'read';
    expect(body).toMatchObject({ active: true, ...binding, ...cnf, aud: APIS[format], scope });
    // RFC 9701
    const signed = { accept: 'application/token-introspection+jwt' };
    const path = `${server.issuer}/oauth2/introspect`;
    const { text } = (await postForm(path, introspector, { token: accessToken }, signed)).body;
    expect(decodeJwt(text as string).token_introspection).toMatchObject({ active: true, ...binding, ...cnf });

    if (OF_USERS.includes(grant)) {
      expect(decodeJwt(idToken)).toMatchObject({ azp: clientId, aud: clientId });
      expect(decodeJwt(idToken)).not.toHaveProperty('client_id');
      const ofRefreshToken = await kind.send('/oauth2/introspect', { token: refreshToken });
      // RFC 7662 §2.1
      if (kind.client.clientSecret === '') expect(ofRefreshToken.body.error).toBe('invalid_client');
      else expect(ofRefreshToken.body).toMatchObject({ active: true, ...binding, token_type: 'refresh_token' });
    } else expect([idToken, refreshToken]).toEqual([undefined, undefined]);
  });
});
