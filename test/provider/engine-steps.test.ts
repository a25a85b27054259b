// The list of the engine's steps (provider/engine-steps) against the engine that is installed.

import { expect, test } from '@jest/globals';
import { introspection, token } from 'oidc-provider/lib/actions/index.js';

/** The last step of each, which answers. */
const ANSWERING = ['callTokenHandler', 'renderTokenResponse'];
/** They are left out by the fast path, or run when another one has thrown. */
const APART = ['noCache', 'urlencoded', 'jwtIntrospectionResponse', 'setWWWAuthenticateHeader'];

test('what the fast path does not wait for has nothing left to do after the next step was called', () => {
  const steps = [...new Set([...token, ...introspection])].filter(
    ({ name }) => ![...ANSWERING, ...APART].includes(name) && !name.startsWith('bound '),
  );
  expect(steps.length).toBeGreaterThan(10);
  const unfit = steps.filter((step) => !/(?:next\(\)|, ctx, next\));\s*\}$/.test(String(step)));
  expect(unfit.map(({ name }) => name)).toEqual([]);
});

test('a step that is new in the engine stops the start', async () => {
  token.push(async function newStep() {});
  await expect(import('../../src/provider/engine-steps.ts')).rejects.toThrow(
    /^oidc-provider has no token endpoint with the steps noCache, .*\(it has .*, newStep\); Lanyard was written against/,
  );
});
