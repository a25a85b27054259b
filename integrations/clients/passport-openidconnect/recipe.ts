import { NPM_CI, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'passport-openidconnect 0.1',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  switches: [
    {
      name: 'nonce: true',
      reason: 'without this option the library sends neither a code_challenge nor a nonce',
    },
  ],
  without: { refresh: 'the library does not refresh' },
};
