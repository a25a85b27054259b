import { NPM_CI, PUBLIC, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'oidc-client-ts 3',
  language: 'JavaScript in the browser',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  browser: 'chromium',
  switches: [PUBLIC, REFRESH],
};
