import { REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'mod_auth_openidc 2.4 (Debian 12)',
  language: 'Apache',
  group: 'each time',
  apt: ['apache2', 'libapache2-mod-auth-openidc'],
  install: [],
  start: ['/usr/sbin/apache2', '-d', '.', '-f', 'apache.conf', '-DFOREGROUND'],
  // Every page leads to the sign-in. The module itself shows the claims, and answers 401 to somebody who is not signed in.
  paths: { login: '/api', claims: '/callback?info=json', loggedOut: '/signed-out' },
  switches: [REFRESH],
};
