// The endpoints that have a short way to their answers (short-path), put together.

import { createFindTokenWithGrant, type TokenWithGrantDeps } from '../tokens/token-with-grant.ts';
import { createFastPath, type FastPath, type FastPathDeps } from './fast-endpoint.ts';
import { type FastIntrospectionDeps, fastIntrospection } from './introspection.ts';
import { type FastTokenDeps, fastToken } from './token.ts';
import { fastUserinfo } from './userinfo.ts';

export interface FastEndpointsDeps
  extends Omit<FastIntrospectionDeps & FastTokenDeps, 'findTokenWithGrant'>,
    TokenWithGrantDeps,
    Pick<FastPathDeps, 'rawHeaders'> {
  readonly paths: Readonly<Record<'token' | 'introspection' | 'userinfo', string>>;
}

export function fastEndpoints({ paths, rawHeaders, ...deps }: FastEndpointsDeps): FastPath {
  const all = { ...deps, findTokenWithGrant: createFindTokenWithGrant(deps) };
  return createFastPath({
    answers: {
      [paths.token]: fastToken(all),
      [paths.introspection]: fastIntrospection(all),
      [paths.userinfo]: fastUserinfo(all),
    },
    rawHeaders,
  });
}
