import { NPM_CI, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'oauth4webapi 3',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  switches: [REFRESH],
};
