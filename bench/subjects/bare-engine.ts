// The reference: the engine alone, in one process, with its state in memory. Features, routes, key
// types, lifetimes and policies are those of src/provider/configuration; without what the engine
// cannot do (introspection of JWTs, hashed secrets, stored consent, audit).

import { randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { exportJWK, generateKeyPair } from 'jose';
import Provider, { type Configuration, errors } from 'oidc-provider';
import MemoryAdapter from 'oidc-provider/lib/adapters/memory_adapter.js';
import LRU from 'oidc-provider/lib/helpers/lru.js';
import { type Fixtures, JWT_API, METADATA, OPAQUE_API, SCOPE } from '../fixtures.ts';
import { answerInteraction } from './bare-pages.ts';

/** The default of 1,000 evicts codes that are prepared before a round. Lanyard evicts none. */
const STORE_ENTRIES = 50_000;
const ACCESS_TOKEN_SECONDS = 600;
const REFRESH_TOKEN_SECONDS = 1_209_600;
const CLOCK_TOLERANCE_SECONDS = 5;

const [port = '', fixturesText = ''] = process.argv.slice(2);
const fixtures = JSON.parse(fixturesText) as Fixtures;
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, await configuration());
const engine = provider.callback();
createServer((request, response) => {
  if (request.url?.startsWith('/interaction/')) void answerInteraction(provider, request, response);
  else void engine(request, response);
}).listen(Number(port), '127.0.0.1', () => process.stderr.write('The bare engine is running.\n'));

async function configuration(): Promise<Configuration> {
  const store = new LRU({ maxSize: STORE_ENTRIES });
  return {
    adapter: (model: string) => new MemoryAdapter(model, store, CLOCK_TOLERANCE_SECONDS),
    clients: Object.entries(fixtures).map(([role, { clientId, clientSecret }]) => ({
      ...structuredClone(METADATA[role as keyof Fixtures]),
      client_id: clientId,
      ...(clientSecret === '' ? {} : { client_secret: clientSecret }),
    })) as never,
    findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, preferred_username: sub, updated_at: 1 }) }),
    jwks: { keys: (await Promise.all([makeKey('ES256'), makeKey('RS256')])) as never },
    routes: {
      authorization: '/oauth2/authorize',
      token: '/oauth2/token',
      introspection: '/oauth2/introspect',
      revocation: '/oauth2/revoke',
      userinfo: '/oauth2/userinfo',
      jwks: '/oauth2/jwks',
      end_session: '/oauth2/logout',
    },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'address', 'phone'],
    responseTypes: ['code'],
    pkce: { required: () => true },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
    clientDefaults: { id_token_signed_response_alg: 'ES256' },
    issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: (ctx) => ctx.oidc.client?.clientAuthMethod === 'none',
    ttl: {
      AuthorizationCode: 600,
      AccessToken: ACCESS_TOKEN_SECONDS,
      ClientCredentials: ACCESS_TOKEN_SECONDS,
      IdToken: 3_600,
      RefreshToken: REFRESH_TOKEN_SECONDS,
      Grant: 2 * REFRESH_TOKEN_SECONDS,
      Session: REFRESH_TOKEN_SECONDS,
      Interaction: 3_600,
    },
    clockTolerance: CLOCK_TOLERANCE_SECONDS,
    cookies: {
      keys: ['the first key of the cookies', 'the second key of the cookies'],
      long: { httpOnly: true, sameSite: 'lax', signed: true },
      short: { httpOnly: true, sameSite: 'lax', signed: true },
    },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    formats: { bitsOfOpaqueRandomness: 256 },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (_ctx, caller) => caller.clientAuthMethod !== 'none' },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (_ctx, _client, oneOf) => oneOf as string[],
        useGrantedResource: () => true,
        getResourceServerInfo: (_ctx, indicator) => {
          if (indicator !== OPAQUE_API && indicator !== JWT_API) throw new errors.InvalidTarget();
          return {
            scope: SCOPE,
            audience: indicator,
            accessTokenFormat: indicator === JWT_API ? 'jwt' : 'opaque',
            accessTokenTTL: ACCESS_TOKEN_SECONDS,
            jwt: { sign: { alg: 'ES256' } },
          };
        },
      },
      rpInitiatedLogout: { enabled: true },
      backchannelLogout: { enabled: true },
      userinfo: { enabled: true },
      jwtUserinfo: { enabled: true },
      jwtIntrospection: { enabled: true },
      claimsParameter: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      requestObjects: { enabled: true },
      jwtResponseModes: { enabled: true },
      deviceFlow: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32) },
      fapi: { enabled: true, profile: () => undefined },
    } as NonNullable<Configuration['features']>,
  };
}

async function makeKey(alg: 'ES256' | 'RS256') {
  const { privateKey } = await generateKeyPair(alg, { extractable: true });
  return { ...(await exportJWK(privateKey)), alg, use: 'sig' };
}
