import { NPM_CI, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'passport-openidconnect 0.1',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  switches: [
    {
      name: 'require_pkce',
      reason: 'the library sends neither a code_challenge nor a nonce',
      registration: { require_pkce: false },
    },
  ],
  without: { refresh: 'the library does not refresh' },
};
