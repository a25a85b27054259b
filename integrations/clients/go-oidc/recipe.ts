import { GO_BUILD, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'go-oidc 3 with golang.org/x/oauth2',
  language: 'Go',
  group: 'go',
  programs: ['go'],
  install: [GO_BUILD],
  start: ['$CACHE/app'],
  switches: [REFRESH],
};
