import { PIP, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'django-allauth 65',
  language: 'Python',
  group: 'each time',
  programs: ['python3'],
  install: PIP,
  start: ['$CACHE/venv/bin/python', 'app.py'],
  paths: { redirect: '/accounts/oidc/lanyard/login/callback/', login: '/accounts/oidc/lanyard/login/' },
  switches: [
    {
      name: 'OAUTH_PKCE_ENABLED',
      reason: 'without it the library sends neither a code_challenge nor a nonce',
    },
  ],
  without: { refresh: 'the library does not refresh' },
};
