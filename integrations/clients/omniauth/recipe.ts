import type { Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'omniauth_openid_connect 0.10 (Debian 12)',
  language: 'Ruby',
  group: 'each time',
  apt: ['ruby-omniauth-openid-connect', 'ruby-sinatra', 'ruby-webrick'],
  install: [],
  start: ['ruby', 'app.rb'],
  paths: { redirect: '/auth/lanyard/callback' },
  switches: [],
  without: { refresh: 'the library does not refresh' },
};
