import { GO_BUILD, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'zitadel/oidc 3 (rp)',
  language: 'Go',
  group: 'go',
  programs: ['go'],
  install: [GO_BUILD],
  start: ['$CACHE/app'],
  switches: [
    REFRESH,
    {
      name: 'rp.WithPKCE(cookieHandler)',
      reason: 'its example sends a code_challenge only where the client has no secret, and never a nonce',
    },
  ],
};
