import { NPM_CI, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'express-openid-connect 3',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  // The library returns to its baseURL, which has no slash at its end.
  paths: { loggedOut: '' },
  switches: [REFRESH],
};
