// What clients and APIs read before anything else, from time to time, and all of them at once after an
// outage.

import { BOTH, type Operation } from './operation.ts';

export const discovery: Operation = {
  id: 'discovery',
  title: 'discovery document',
  measuredOn: BOTH,
  prepare: async () => read('/.well-known/openid-configuration', '"issuer":"'),
};

export const jwks: Operation = {
  id: 'jwks',
  title: 'public keys (JWKS)',
  measuredOn: BOTH,
  prepare: async () => read('/oauth2/jwks', '"kid":"'),
};

function read(path: string, wanted: string) {
  return { kind: 'requests', method: 'GET', path, headers: {}, wanted: [wanted] } as const;
}
