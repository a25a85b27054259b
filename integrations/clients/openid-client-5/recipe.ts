import { NPM_CI, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'openid-client 5',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  switches: [REFRESH],
};
