import { REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'oauth2-proxy 7',
  language: 'any, behind a proxy',
  group: 'go',
  programs: ['go'],
  install: [['env', 'GOBIN=$CACHE', 'go', 'install', 'github.com/oauth2-proxy/oauth2-proxy/v7@v7.15.6']],
  start: ['node', 'app.mjs'],
  paths: { redirect: '/oauth2/callback', login: '/oauth2/start?rd=/' },
  switches: [
    REFRESH,
    { name: '--code-challenge-method=S256', reason: 'by default it sends neither a code_challenge nor a nonce' },
    { name: 'email_verified', reason: 'it accepts only users whose email address is verified' },
  ],
};
