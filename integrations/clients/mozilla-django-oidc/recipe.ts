import { PIP, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'mozilla-django-oidc 5',
  language: 'Python',
  group: 'each time',
  programs: ['python3'],
  install: PIP,
  start: ['$CACHE/venv/bin/python', 'app.py'],
  paths: { redirect: '/oidc/callback/', login: '/oidc/authenticate/', logout: '/oidc/logout/' },
  switches: [],
  without: { refresh: 'the library does not refresh' },
};
