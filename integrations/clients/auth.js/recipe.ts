import { NPM_CI, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'Auth.js 5 (@auth/express)',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  paths: {
    redirect: '/auth/callback/lanyard',
    login: '/auth/signin?callbackUrl=/',
    logout: '/auth/signout?callbackUrl=/signed-out',
  },
  switches: [REFRESH],
};
