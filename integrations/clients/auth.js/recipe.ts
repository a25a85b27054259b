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
  switches: [
    REFRESH,
    {
      name: 'id_token_claims',
      reason: 'it takes the user from the ID token, and asks userinfo only with its option `idToken: false`',
      registration: { id_token_claims: 'scopes' },
    },
  ],
};
