import { PIP, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'MCP SDK 2 (Python)',
  language: 'Python',
  group: 'each time',
  programs: ['python3'],
  install: PIP,
  start: ['$CACHE/venv/bin/python', 'app.py'],
  api: 'mcp',
  switches: [
    {
      name: 'LANYARD_DANGER_OPEN_REGISTRATION',
      reason: 'the agent registers itself, as it knows nothing but the address of the MCP server',
    },
    {
      name: 'self_registered_clients',
      reason: 'it has no policy row, as nobody knows its client_id before',
    },
  ],
  without: {
    claims: 'an agent does not ask who the user is',
    'sign-out': 'MCP has none',
  },
};
