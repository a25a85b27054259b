// The form of a recipe: `clients/NAME/recipe.ts`. README.md explains it.

import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

export const CLIENTS = fileURLToPath(new URL('./clients/', import.meta.url));

/** What a user does, in this order. */
export const FLOWS = ['sign-in', 'claims', 'API', 'other API', 'refresh', 'silent renew', 'sign-out'] as const;
export type Flow = (typeof FLOWS)[number];

/** What the app of a recipe must be able to do. An app on a server has no hidden frame. */
export function flowsOf({ without, browser }: Recipe): Flow[] {
  return FLOWS.filter((flow) => without?.[flow] === undefined && (flow !== 'silent renew' || browser === 'chromium'));
}

/** Those that CI runs each time, and those of which it runs one. */
export const SLOW_GROUPS = ['rust', 'go', 'spring', 'keycloak'] as const;
export type Group = 'each time' | (typeof SLOW_GROUPS)[number];

/** Something that is needed beside redirect URIs, a name, and what the library's documentation shows. */
export interface Switch {
  /** as docs/integrate.md names it */
  readonly name: string;
  /** one sentence */
  readonly reason: string;
  /** if it is a member of the registration */
  readonly registration?: Readonly<Record<string, unknown>>;
}

export interface Recipe {
  /** the library and the version, for people */
  readonly title: string;
  readonly language: string;
  readonly group: Group;
  /** Debian's packages */
  readonly apt?: readonly string[];
  /** programs that must be there; the recipe is skipped without them */
  readonly programs?: readonly string[];
  /** Commands, run in the folder of the recipe, with the variable CACHE. */
  readonly install: readonly Command[];
  /** what starts the app; see README.md for its variables */
  readonly start: Command;
  /** default: `http`, which runs no scripts */
  readonly browser?: 'http' | 'chromium';
  /** default: `http`. An MCP server is another resource server, whose identifier is its address. */
  readonly api?: 'http' | 'mcp';
  /** default: the paths of README.md */
  readonly paths?: Partial<Paths>;
  readonly switches: readonly Switch[];
  /** flows that the library does not have, with the reason */
  readonly without?: Partial<Record<Flow, string>>;
}

/** Program and arguments; `$NAME` is replaced by the variable. */
export type Command = readonly [string, ...string[]];

export interface Paths {
  readonly redirect: string;
  readonly loggedOut: string;
  readonly login: string;
  readonly claims: string;
  readonly api: string;
  readonly otherApi: string;
  readonly refresh: string;
  readonly renew: string;
  readonly logout: string;
}

export const PATHS: Paths = {
  redirect: '/callback',
  loggedOut: '/',
  login: '/login',
  claims: '/',
  api: '/api',
  otherApi: '/other-api',
  refresh: '/refresh',
  renew: '/renew',
  logout: '/logout',
};

/** As package-lock.json says. */
export const NPM_CI: Command = ['npm', 'ci', '--no-audit', '--no-fund'];

/** What requirements.txt lists and nothing else, into $CACHE/venv. */
export const PIP: readonly Command[] = [
  ['python3', '-m', 'venv', '$CACHE/venv'],
  ['$CACHE/venv/bin/pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps', '-r', 'requirements.txt'],
];

/** As go.mod and go.sum say, to $CACHE/app. */
export const GO_BUILD: Command = ['go', 'build', '-o', '$CACHE/app', '.'];

/** As pom.xml says, whose build directory is $CACHE. */
export const MAVEN_PACKAGE: Command = ['mvn', '--quiet', '--batch-mode', 'package'];

/** RFC 7591 §2: a registration that does not name `refresh_token` is for `authorization_code` alone. */
export const REFRESH: Switch = {
  name: 'grant_types',
  reason: 'for the refresh only: without the member it is authorization_code alone (RFC 7591 §2)',
  registration: { grant_types: ['authorization_code', 'refresh_token'] },
};

/** RFC 7591 §2: without the member a client is confidential. */
export const PUBLIC: Switch = {
  name: 'token_endpoint_auth_method',
  reason: 'the app cannot keep a secret; without the member it gets one (RFC 7591 §2)',
  registration: { token_endpoint_auth_method: 'none' },
};

export type NamedRecipe = Recipe & { readonly name: string; readonly folder: string };

export async function loadRecipes(): Promise<NamedRecipe[]> {
  const names = (await readdir(CLIENTS)).sort();
  return Promise.all(
    names.map(async (name) => {
      const { recipe } = (await import(`./clients/${name}/recipe.ts`)) as { recipe: Recipe };
      return { ...recipe, name, folder: `${CLIENTS}${name}` };
    }),
  );
}
