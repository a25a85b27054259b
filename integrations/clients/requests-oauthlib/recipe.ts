import { PIP, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'requests-oauthlib 2 (Flask)',
  language: 'Python',
  group: 'each time',
  programs: ['python3'],
  install: PIP,
  start: ['$CACHE/venv/bin/python', 'app.py'],
  switches: [
    REFRESH,
    {
      name: 'code_challenge',
      reason:
        'it sends neither a code_challenge nor a nonce; its own `pkce="S256"` is for apps that keep one OAuth2Session through the sign-in',
    },
  ],
};
