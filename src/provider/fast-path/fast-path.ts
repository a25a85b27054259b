// The endpoints that have a short way to their answers (short-path), put together.

import { createFindFamily, type FamilyDeps } from '../tokens/token-with-grant.ts';
import { createShortPath, type ShortPath, type ShortPathDeps } from './fast-endpoint.ts';
import { type ShortIntrospectionDeps, shortIntrospection } from './introspection.ts';
import { type ShortTokenDeps, shortToken } from './token.ts';
import { shortUserinfo } from './userinfo.ts';

export interface ShortAnswersDeps
  extends Omit<ShortIntrospectionDeps & ShortTokenDeps, 'findFamily'>,
    FamilyDeps,
    Pick<ShortPathDeps, 'rawHeaders'> {
  readonly paths: Readonly<Record<'token' | 'introspection' | 'userinfo', string>>;
}

export function shortAnswers({ paths, rawHeaders, ...deps }: ShortAnswersDeps): ShortPath {
  const all = { ...deps, findFamily: createFindFamily(deps) };
  return createShortPath({
    answers: {
      [paths.token]: shortToken(all),
      [paths.introspection]: shortIntrospection(all),
      [paths.userinfo]: shortUserinfo(all),
    },
    rawHeaders,
  });
}
