// The endpoints that have a short way to their answers (short-path), put together.

import { type ShortIntrospectionDeps, shortIntrospection } from './short-introspection.ts';
import { createShortPath, type ShortPath, type ShortPathDeps } from './short-path.ts';
import { type ShortTokenDeps, shortToken } from './short-token.ts';
import { shortUserinfo } from './short-userinfo.ts';
import { createFindFamily, type FamilyDeps } from './token-family.ts';

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
