// The binding hooks at the level of the engine: whatever another hook returns, whatever a new grant does, and whichever model a
// new version of the engine adds, nothing is issued without its client.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { decodeJwt } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';
import { bindIdTokens, bindJwt, bindOpaque } from '../../src/provider/tokens/binding-hooks.ts';
import { introspect, requestToken, type TestClient } from '../support/admin.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';
import { INACTIVE, isActive } from '../support/oauth.ts';
import type { TestServer } from '../support/server.ts';

const API = 'https://api.example';
const VAULT = 'https://vault.example';
const ATTACK = { azp: 'ATTACK', client_id: 'ATTACK', clientId: 'ATTACK' };

type Saveable = { save(ttl?: number): Promise<string>; [member: string]: unknown };
type Model = new (members: Record<string, unknown>) => Saveable;

let engine: TestEngine;
let client: TestClient;

beforeAll(async () => {
  engine = await startTestEngine();
  registerNewGrant();
  client = await engine.insertClient('app', { grant_types: ['client_credentials', 'urn:example:new'] });
  await engine.insertUser('alice');
  await engine.insertApi(API, 'jwt', { app: ['read'] });
  await engine.insertApi(VAULT, 'opaque', { app: ['open'] });
});
afterAll(() => engine.stop());

const model = (name: string) => engine.provider[name as 'AccessToken'] as unknown as Model;

describe('a model without a client', () => {
  test.each(['AccessToken', 'ClientCredentials', 'RefreshToken', 'AuthorizationCode', 'DeviceCode'])(
    '%s is not saved',
    async (name) => {
      for (const members of [{}, { clientId: '' }, { clientId: null }, { client: {} }, { clientId: ['app'] }]) {
        const nobodys = new (model(name))({ accountId: 'alice', grantId: 'a grant', scope: 'read', ...members });
        await expect(nobodys.save(60)).rejects.toThrow('does not name the client');
      }
      const { rows } = await engine.sql.query('SELECT 1 FROM oidc_artifacts WHERE model = $1', [name]);
      expect(rows).toEqual([]);
    },
  );

  test('an ID token is not issued', async () => {
    const { IdToken } = engine.provider;
    const nobodys = new (
      IdToken as unknown as new (
        claims: object,
        options: object,
      ) => {
        issue(options: object): Promise<string>;
      }
    )({ sub: 'alice' }, { client: { clientId: '' } });
    await expect(nobodys.issue({ use: 'idtoken' })).rejects.toThrow('does not name the client');
  });

  test('a JWT of a user without a grant is not issued: nothing could revoke it', async () => {
    const boundClient = await engine.provider.Client.find('app');
    const token = new (model('AccessToken'))({ client: boundClient, accountId: 'alice', scope: 'read' });
    token.resourceServer = resourceServer(engine.provider);
    await expect(token.save()).rejects.toThrow('without a grant');
  });
});

test('every model of the engine is either guarded (see above) or known to be no token', () => {
  const guarded = ['AccessToken', 'AuthorizationCode', 'ClientCredentials', 'DeviceCode', 'RefreshToken'];
  const noTokenOfAClient = [
    'BackchannelAuthenticationRequest', // of a feature that is off, like the next one
    'PreAuthorizedCode',
    'Grant',
    'InitialAccessToken',
    'RegistrationAccessToken',
    'PushedAuthorizationRequest',
    'ReplayDetection',
  ];
  const { provider } = engine;
  const BaseToken = (provider as unknown as { BaseToken: Model }).BaseToken;
  const models = Object.entries(Object.getOwnPropertyDescriptors(Provider.prototype))
    .filter(([name, property]) => /^[A-Z]/.test(name) && property.get !== undefined)
    .map(([name]) => name)
    .filter((name) => model(name)?.prototype instanceof BaseToken);
  expect(models.filter((name) => !noTokenOfAClient.includes(name)).sort()).toEqual(guarded);
});

describe('another hook that names another client', () => {
  /** The engine with our hooks and, beside each, one that returns whatever an attacker would like. */
  function hostileProvider(): Provider {
    const configuration = {
      jwks: { keys: engine.signingKeys.map((key) => key.privateJwk) },
      features: { clientCredentials: { enabled: true }, devInteractions: { enabled: false } },
      clients: [{ client_id: 'app', client_secret: 's', grant_types: [], response_types: [], redirect_uris: [] }],
      clientDefaults: { id_token_signed_response_alg: 'ES256' },
      extraTokenClaims: () => ATTACK,
      formats: {
        customizers: {
          jwt(ctx: never, token: never, jwt: { payload: object }) {
            Object.assign(jwt.payload, ATTACK);
            return bindJwt(ctx, token, jwt as never);
          },
        },
      },
      findAccount: () => undefined,
      cookies: { keys: ['a key for the tests'] },
    };
    const provider = new Provider('http://localhost:1', configuration as unknown as Configuration);
    bindIdTokens(provider);
    return provider;
  }

  test('a JWT access token names its own client, for a client and for a user', async () => {
    const provider = hostileProvider();
    const boundClient = await provider.Client.find('app');
    for (const name of ['ClientCredentials', 'AccessToken'] as const) {
      const Token = provider[name] as unknown as Model;
      const token = new Token({ client: boundClient, accountId: 'alice', grantId: 'a grant', scope: 'read' });
      token.resourceServer = resourceServer(provider);
      expect(decodeJwt(await engine.inUnit(() => token.save()))).toMatchObject({ client_id: 'app', azp: 'app' });
    }
  });

  test('an ID token names its own client, and in azp only', async () => {
    const provider = hostileProvider();
    const boundClient = await provider.Client.find('app');
    const idToken = new (
      provider.IdToken as unknown as new (
        claims: object,
        options: object,
      ) => {
        extra: object;
        issue(options: object): Promise<string>;
      }
    )({ sub: 'alice', ...ATTACK }, { client: boundClient });
    idToken.extra = ATTACK;
    const claims = decodeJwt(await idToken.issue({ use: 'idtoken' }));
    expect(claims).toMatchObject({ aud: 'app', azp: 'app' });
    expect(claims).not.toHaveProperty('client_id');
  });

  test('what an opaque token carries is the client that it was made for', () => {
    expect(bindOpaque(undefined, { clientId: 'app', extra: ATTACK } as never)).toEqual({ azp: 'app' });
    expect(() => bindOpaque(undefined, { extra: ATTACK } as never)).toThrow('does not name the client');
  });

  test.each([
    ['that names another azp', `'{"azp":"ATTACK"}'`],
    ['that names no azp', `'{}'`],
    ['whose azp is a list', `'{"azp":["app"]}'`],
  ])('an opaque token %s, however it got there, is not active for anybody: fail closed', async (_name, extra) => {
    const token = (await requestToken(engine.issuer, client, { resource: VAULT })).body.access_token as string;
    expect(await isActive(engine as unknown as TestServer, client, token)).toBe(true);
    await engine.sql.query(
      `UPDATE oidc_artifacts SET payload = jsonb_set(payload::jsonb, '{extra}', ${extra}::jsonb)::json
       WHERE model = 'ClientCredentials'`,
    );
    expect((await introspect(engine.issuer, client, token)).body).toEqual(INACTIVE);
  });
});

describe('a grant type that is added', () => {
  test.each([
    ['jwt', API],
    ['opaque', VAULT],
  ])('issues bound tokens: %s', async (format, api) => {
    const answer = await requestToken(engine.issuer, client, {
      grant_type: 'urn:example:new',
      format,
      api,
      scope: api === API ? 'read' : 'open',
    });
    expect(answer.status).toBe(200);
    const token = answer.body.access_token as string;
    if (format === 'jwt') expect(decodeJwt(token)).toMatchObject({ client_id: 'app', azp: 'app' });
    expect((await introspect(engine.issuer, client, token)).body).toMatchObject({
      active: true,
      client_id: 'app',
      azp: 'app',
    });
  });

  test('and none that names no client', async () => {
    for (const format of ['jwt', 'opaque']) {
      const form = { grant_type: 'urn:example:new', format, api: API, scope: 'read', unnamed: 'true' };
      const { status, body } = await requestToken(engine.issuer, client, form);
      expect(status).toBe(500);
      expect(body).not.toHaveProperty('access_token');
    }
  });
});

/** A grant type as a later version might add it, without regard for the binding. */
function registerNewGrant(): void {
  engine.provider.registerGrantType(
    'urn:example:new',
    async (ctx) => {
      const { params, client: asking } = ctx.oidc;
      const info = {
        scope: String(params?.scope),
        audience: String(params?.api),
        accessTokenFormat: String(params?.format),
      };
      const token = new (model('ClientCredentials'))({ client: asking, scope: info.scope });
      token.extra = ATTACK;

      token.resourceServer = new engine.provider.ResourceServer(info.audience, info as never);
      if (params?.unnamed === 'true') token.clientId = undefined;
      ctx.body = { access_token: await engine.inUnit(() => token.save()), token_type: 'Bearer' };
    },
    ['format', 'api', 'scope', 'unnamed'],
  );
}

function resourceServer(provider: Provider): unknown {
  const info = { scope: 'read', audience: API, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
  return new provider.ResourceServer(API, info as never);
}
