import { NPM_CI, REFRESH, type Recipe } from '../../recipe.ts';

const ENDPOINT = '/realms/demo/broker/lanyard/endpoint';

/** `minValidityToken` in realm.json makes Keycloak refresh at once, and not only when the token is about to expire. */
export const recipe: Recipe = {
  title: 'Keycloak 26 as a broker',
  language: 'any, behind Keycloak',
  group: 'keycloak',
  programs: ['java', 'mvn'],
  install: [
    NPM_CI,
    [
      'mvn',
      '--quiet',
      '--batch-mode',
      'org.apache.maven.plugins:maven-dependency-plugin:3.8.1:unpack',
      '-Dartifact=org.keycloak:keycloak-quarkus-dist:26.7.3:zip',
      '-DoutputDirectory=$CACHE',
      '-Dproject.basedir=$CACHE', // for its markers, as there is no project
    ],
    ['$CACHE/keycloak-26.7.3/bin/kc.sh', 'build', '--db=dev-mem'],
  ],
  start: ['node', 'app.mjs'],
  paths: { redirect: ENDPOINT, loggedOut: `${ENDPOINT}/logout_response` },
  switches: [
    REFRESH,
    { name: 'storeToken', reason: 'for the API only: Keycloak keeps the tokens of Lanyard' },
    { name: 'addReadTokenRoleOnCreate', reason: 'for the API only: Keycloak lets apps of the user read them' },
  ],
};
