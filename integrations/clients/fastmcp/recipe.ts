import { PIP, PUBLIC, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'FastMCP 4',
  language: 'Python',
  group: 'each time',
  programs: ['python3'],
  install: PIP,
  start: ['$CACHE/venv/bin/python', 'app.py'],
  api: 'mcp',
  switches: [PUBLIC, REFRESH],
  without: {
    claims: 'an agent does not ask who the user is',
    'sign-out': 'MCP has none',
  },
};
