// An engine that has renamed something which Lanyard replaces, calls or reads stops the start, and the error names it.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type Provider from 'oidc-provider';
import * as grantHelpers from 'oidc-provider/lib/helpers/grants.js';
import { assertEngineInternals } from '../../src/provider/engine-internals.ts';
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
  ...['RefreshToken', 'Grant', 'IdToken', 'Session.get'],
];

/** The same object without the member at this path. The target is a function, because classes are called functions too. */
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

function catchMessage(work: () => void): string {
  try {
    work();
    return '';
  } catch (error) {
    return (error as Error).message;
  }
}
