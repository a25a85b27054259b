import { MAVEN_PACKAGE, REFRESH, type Recipe } from '../../recipe.ts';

export const recipe: Recipe = {
  title: 'Spring Boot 3.5',
  language: 'Java',
  group: 'spring',
  programs: ['java', 'mvn'],
  install: [MAVEN_PACKAGE],
  start: ['java', '-jar', '$CACHE/app.jar'],
  // As its documentation has it: {baseUrl}/login/oauth2/code/{registrationId}, and {baseUrl} after the sign-out.
  paths: { redirect: '/login/oauth2/code/lanyard', loggedOut: '', login: '/oauth2/authorization/lanyard' },
  switches: [REFRESH],
};
