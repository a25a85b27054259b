import type { Recipe } from '../../recipe.ts';
import { recipe as springBoot3 } from '../spring-boot-3/recipe.ts';

/** With the same sources. */
export const recipe: Recipe = { ...springBoot3, title: 'Spring Boot 4' };
