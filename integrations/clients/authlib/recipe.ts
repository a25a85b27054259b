import { PIP, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'Authlib 1.9 (Flask)',
  language: 'Python',
  group: 'each time',
  programs: ['python3'],
  install: PIP,
  start: ['$CACHE/venv/bin/python', 'app.py'],
  switches: [REFRESH],
};
