import { NPM_CI, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'MCP SDK 1 (TypeScript)',
  language: 'JavaScript',
  group: 'each time',
  install: [NPM_CI],
  start: ['node', 'app.mjs'],
  api: 'mcp',
  switches: [REFRESH],
  without: {
    claims: 'an agent does not ask who the user is',
    'sign-out': 'MCP has none',
  },
};
