// An engine that has renamed something which Lanyard replaces, calls or reads stops the start, and
// the error names it.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { Middleware } from 'koa';
import Provider, { type Configuration } from 'oidc-provider';
import * as grantHelpers from 'oidc-provider/lib/helpers/grants.js';
import { metadataDocuments } from '../../src/provider/clients/metadata-documents.ts';
import { storeMember } from '../../src/provider/engine-authorization.ts';
import { assertEngineInternals } from '../../src/provider/engine-internals.ts';
import { probeEngine } from '../../src/provider/engine-probe.ts';
import { startTestEngine, type TestEngine } from '../support/engine.ts';

let engine: TestEngine;

beforeAll(async () => {
  engine = await startTestEngine();
});
afterAll(() => engine.stop());

const LIST = [
  ...['Client.find', 'Client.prototype.compareClientSecret', 'Client.prototype.grantTypeAllowed'],
  ...['Client.prototype.responseTypeAllowed', 'Client.prototype.backchannelLogout', 'ReplayDetection.unique'],
  ...['IdToken.prototype.issue', 'AccessToken.prototype.generateTokenId'],
  ...['ClientCredentials.prototype.generateTokenId', 'RefreshToken.prototype.generateTokenId'],
  ...['OIDCContext.prototype.urlFor', 'OIDCContext.prototype.clientJwtAuthExpectedAudience'],
  ...[
    'constructor.ctx',
    'createContext',
    'OIDCContext',
    'OIDCContext.prototype.entity',
    'OIDCContext.prototype.getAccessToken',
    'Claims',
    'ResourceServer',
  ],
  ...[
    'Client',
    'Client.validate',
    'Client.prototype.metadata',
    'AccessToken',
    'AuthorizationCode',
    'ClientCredentials',
  ],
  ...['RefreshToken', 'Grant', 'IdToken', 'Session.get', 'Session.prototype.resetIdentifier'],
];

/**
 * The same object without the member at this path. The target is a function, because classes are
 * called functions too.
 */
function without(root: object, path: string): object {
  const [name = '', ...rest] = path.split('.');
  return new Proxy(() => {}, {
    get(_target, property) {
      const value = Reflect.get(root, property) as object;
      if (property !== name) return value;
      return rest.length === 0 ? undefined : without(value, rest.join('.'));
    },
    has: (_target, property) => (property === name && rest.length === 0 ? false : Reflect.has(root, property)),
  });
}

describe('assertEngineInternals', () => {
  test('accepts the engine that is installed', () => {
    expect(() => assertEngineInternals(engine.provider)).not.toThrow();
  });

  test.each(LIST)('names %s when it is missing', (path) => {
    const renamed = without(engine.provider, path) as Provider;
    expect(() => assertEngineInternals(renamed)).toThrow(
      /^oidc-provider has no .*; Lanyard was written against 9\.13$/,
    );
    const [, missing] = catchMessage(() => assertEngineInternals(renamed)).match(/has no (\S+);/) ?? [];
    // A class is missed with its first member that is on the list.
    expect(missing === path || missing?.startsWith(`${path}.`)).toBe(true);
  });

  test.each(['validateDpop', 'checkDpopReplay'])('names the grant helper %s', (name) => {
    const helpers = without({ ...grantHelpers }, name);
    expect(() => assertEngineInternals(engine.provider, helpers)).toThrow(`oidc-provider has no ${name};`);
  });
});

test.each(['AuthorizationCode', 'DeviceCode', 'RefreshToken'])(
  'storeMember names the list of members of %s when it is missing',
  (model) => {
    const renamed = without(engine.provider, `${model}.IN_PAYLOAD`) as Provider;
    expect(() => storeMember(renamed, 'more')).toThrow(`oidc-provider has no ${model}.IN_PAYLOAD;`);
  },
);

type Features = NonNullable<Configuration['features']>;
type Pages = Features['deviceFlow'] & Features['rpInitiatedLogout'] & object;

/**
 * An engine whose configuration passes through `change`: a form or an error of it looks different
 * then.
 */
function changed(change: (features: { deviceFlow: Pages; rpInitiatedLogout: Pages }) => void): typeof Provider {
  return class extends Provider {
    constructor(issuer: string, configuration: Configuration) {
      change(configuration.features as never);
      super(issuer, configuration);
    }
  };
}

const renamedAction = (form: string) => form.replace('action=', 'href=');

describe('probeEngine', () => {
  test('accepts the engine that is installed', async () => {
    await expect(probeEngine()).resolves.toBeUndefined();
  });

  test('notices another form at the logout', async () => {
    const Engine = changed(({ rpInitiatedLogout }) => {
      const { logoutSource } = rpInitiatedLogout;
      rpInitiatedLogout.logoutSource = (ctx, form) => logoutSource?.(ctx, renamedAction(form));
    });
    await expect(probeEngine(Engine)).rejects.toThrow(
      'oidc-provider has no form with action and xsrf; Lanyard was written against 9.13',
    );
  });

  test('notices another form where a user code is confirmed', async () => {
    const Engine = changed(({ deviceFlow }) => {
      const { userCodeConfirmSource } = deviceFlow;
      deviceFlow.userCodeConfirmSource = (ctx, form, ...others) => {
        return userCodeConfirmSource?.(ctx, renamedAction(form), ...others);
      };
    });
    await expect(probeEngine(Engine)).rejects.toThrow('no form with action and xsrf');
  });

  test.each([
    ['NoCodeError', 'missing'],
    ['NotFoundError', 'unknown'],
    ['ExpiredError', 'expired'],
    ['AlreadyUsedError', 'used'],
    ['AbortedError', 'aborted'],
  ])('notices that %s has another name', async (name, problem) => {
    const Engine = changed(({ deviceFlow }) => {
      const { userCodeInputSource } = deviceFlow;
      deviceFlow.userCodeInputSource = (ctx, form, out, error) => {
        if (error?.name === name) error.name = 'RenamedError';
        return userCodeInputSource?.(ctx, form, out, error);
      };
    });
    await expect(probeEngine(Engine)).rejects.toThrow(`oidc-provider has no error for a code that is ${problem};`);
  });

  test('notices another page that submits itself', async () => {
    const Engine = class extends Provider {};
    const replaced = (middleware: Middleware): Middleware => {
      return (ctx, next) =>
        middleware(ctx, async () => {
          await next();
          if (typeof ctx.body === 'string') ctx.body = ctx.body.replace('Submitting Callback', 'One moment');
        });
    };
    Object.assign(Engine.prototype, {
      use(this: Provider, middleware: Middleware) {
        return Provider.prototype.use.call(this, replaced(middleware));
      },
    });
    await expect(probeEngine(Engine)).rejects.toThrow('oidc-provider has no page of response_mode=form_post;');
  });

  test.each([
    ['refresh', undefined],
    ['selectForVerify', undefined],
    ['clear', undefined],
    ['fresh', () => true],
  ])('notices that the keys of a client have another %s', async (name, member) => {
    const Engine = class extends Provider {
      constructor(issuer: string, configuration: Configuration) {
        super(issuer, configuration);
        const Original = this.Client as unknown as new (metadata: object) => object;
        const Client = class extends Original {
          constructor(metadata: object) {
            super(metadata);
            Object.assign((this as unknown as { asymmetricKeyStore: object }).asymmetricKeyStore, { [name]: member });
          }
        };
        Object.defineProperty(this, 'Client', { value: Client });
      }
    };
    await expect(probeEngine(Engine)).rejects.toThrow('oidc-provider has no Client.asymmetricKeyStore.');
  });

  test('notices an engine that drops what a client promises', async () => {
    const Engine = class extends Provider {
      constructor(issuer: string, configuration: Configuration) {
        super(issuer, { ...configuration, extraClientMetadata: { properties: [] } });
      }
    };
    await expect(probeEngine(Engine)).rejects.toThrow('oidc-provider has no Client.authorizationDetailsTypes;');
  });
});

function catchMessage(work: () => void): string {
  try {
    work();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}

test('a metadata document that the engine has fetched past the check describes no client', async () => {
  const throttle = { attempt: async () => undefined };
  const { allowClient } = metadataDocuments(['*'], throttle);
  const unchecked = { clientId: 'https://agent.example/client', lanyard_document_check: 'a guess' };
  expect(await allowClient?.({} as never, unchecked as never)).toBe(false);
  expect(await allowClient?.({} as never, { clientId: unchecked.clientId } as never)).toBe(false);
});
