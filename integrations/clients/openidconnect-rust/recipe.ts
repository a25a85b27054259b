import { REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'openidconnect 4 (Rust)',
  language: 'Rust',
  group: 'rust',
  programs: ['cargo'],
  // Not --release, which takes longer to build.
  install: [['cargo', 'build', '--quiet', '--locked', '--target-dir', '$CACHE']],
  start: ['$CACHE/debug/app'],
  switches: [REFRESH],
};
