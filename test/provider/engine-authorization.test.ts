// What provider/engine-authorization changes of the engine.

import { expect, test } from '@jest/globals';
import { getAuthorization } from 'oidc-provider/lib/actions/index.js';

test('an engine that checks the scopes of a device in another step stops the start', async () => {
  const steps = getAuthorization('device_authorization');
  const index = steps.findIndex(({ name }) => name === 'checkScope');
  expect(index).toBeGreaterThan(0);
  steps[index] = async function checkScopes() {};
  await expect(import('../../src/provider/engine-authorization.ts')).rejects.toThrow(
    /^oidc-provider has no step checkScope of device_authorization; Lanyard was written against/,
  );
});
