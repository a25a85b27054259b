// What an authorization request asks for, in words for the user: scopes, single claims, and
// authorization details.

import type { Query } from '../database/database.ts';
import { withHiddenSpelledOut } from '../input/shown-text.ts';
import type { Engine, Interaction } from '../provider/engine.ts';
import type { AuthorizationDetail } from '../resource-servers/authorization-details.ts';
import { isSameIdentifier } from '../resource-servers/identifier.ts';
import { findResourceServer } from '../resource-servers/store.ts';
import { type DetailRow, detailRows, exactJson } from './details-in-words.ts';

/** Names, as a request and a grant have them. */
export interface Asked {
  readonly identityScopes: readonly string[];
  /** by the identifier of the resource server */
  readonly apiScopes: Readonly<Record<string, readonly string[]>>;
  /** names of single claims (OpenID Connect Core §5.5) */
  readonly claims: readonly string[];
  /** RFC 9396 */
  readonly details: readonly AuthorizationDetail[];
}

interface AskedApi {
  readonly identifier: string;
  readonly name: string;
  readonly scopes: readonly string[];
}

interface AskedDetail {
  readonly type: string;
  readonly description: string;
  readonly rows: readonly DetailRow[];
  /** as the app has sent it: JSON */
  readonly exact: string;
}

interface ScopeInWords {
  readonly name: string;
  readonly label: string;
}

export interface AskedInWords {
  readonly identityScopes: readonly ScopeInWords[];
  /** offline_access, if it is asked for */
  readonly duration: readonly ScopeInWords[];
  readonly apis: readonly AskedApi[];
  readonly claims: readonly string[];
  readonly details: readonly AskedDetail[];
  readonly isNothing: boolean;
}

const LABELS: Readonly<Record<string, string>> = {
  openid: 'Know who you are',
  profile: 'Read your profile',
  email: 'Read your email address',
  address: 'Read your postal address',
  phone: 'Read your phone number',
  offline_access: 'Keep this access after you sign out',
};

/** What the engine found missing in the grant. */
export function missingOf({ prompt }: Interaction): Asked {
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes, rar } = prompt.details as {
    readonly missingOIDCScope?: string[];
    readonly missingOIDCClaims?: string[];
    readonly missingResourceScopes?: Record<string, string[]>;
    readonly rar?: AuthorizationDetail[];
  };
  return {
    identityScopes: missingOIDCScope ?? [],
    apiScopes: missingResourceScopes ?? {},
    claims: missingOIDCClaims ?? [],
    details: rar ?? [],
  };
}

/** With `prompt=consent`, and for native apps, the page is shown although nothing is missing. */
export async function allowedBefore({ provider }: Engine, { grantId, params }: Interaction): Promise<Asked> {
  const grant = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const requested = new Set(toList(params.scope));
  const apis = toIdentifiers(params).map((identifier): [string, string[]] => {
    return [identifier, toList(grant?.getResourceScopeFiltered(identifier, requested))];
  });
  return {
    identityScopes: toList(grant?.getOIDCScopeFiltered(requested)),
    apiScopes: Object.fromEntries(apis.filter(([, scopes]) => scopes.length > 0)),
    claims: [],
    details: [],
  };
}

/** All that a request names, before it is known which user will be asked. */
export async function namedBy(query: Query, params: Readonly<Record<string, unknown>>): Promise<Asked> {
  const scopes = toList(params.scope);
  const apis: [string, string[]][] = [];
  for (const identifier of toIdentifiers(params)) {
    const resourceServer = await findResourceServer(query, identifier);
    apis.push([identifier, scopes.filter((name) => resourceServer?.scopes.includes(name))]);
  }
  const { userinfo, id_token: idToken } = fromJson<Record<string, object>>(params.claims) ?? {};
  return {
    identityScopes: scopes.filter((name) => Object.hasOwn(LABELS, name)),
    apiScopes: Object.fromEntries(apis),
    claims: [...new Set([...Object.keys(userinfo ?? {}), ...Object.keys(idToken ?? {})])],
    details: fromJson<AuthorizationDetail[]>(params.authorization_details) ?? [],
  };
}

/** @param params of the request */
export async function inWords(
  query: Query,
  { identityScopes, apiScopes, claims, details }: Asked,
  params: Readonly<Record<string, unknown>>,
): Promise<AskedInWords> {
  const apis = Object.entries(apiScopes).map(async ([identifier, scopes]) => {
    const resourceServer = await findResourceServer(query, identifier);
    return { identifier, name: resourceServer?.name || identifier, scopes };
  });
  const scopes = identityScopes.map((name) => ({ name, label: LABELS[name] ?? name }));
  return {
    identityScopes: scopes.filter(({ name }) => name !== 'offline_access'),
    duration: scopes.filter(({ name }) => name === 'offline_access'),
    apis: await Promise.all(apis),
    // Their names are of the app's choice.
    claims: claims.map(withHiddenSpelledOut),
    details: await detailsInWords(query, details, toIdentifiers(params)),
    isNothing: identityScopes.length + apis.length + claims.length + details.length === 0,
  };
}

async function detailsInWords(
  query: Query,
  details: readonly AuthorizationDetail[],
  identifiers: readonly string[],
): Promise<AskedDetail[]> {
  if (details.length === 0) return [];
  const resourceServers = await Promise.all(identifiers.map((identifier) => findResourceServer(query, identifier)));
  return details.map((detail) => {
    const { type, ...members } = detail;
    const descriptions = resourceServers
      .filter((each) => detail.locations?.some((one) => isSameIdentifier(one, each?.identifier ?? '')) ?? true)
      .flatMap((each) => each?.authorizationDetailsTypes[type]?.description ?? []);
    return {
      type,
      description: descriptions.join('; ') || type,
      rows: detailRows(members),
      exact: exactJson(detail),
    };
  });
}

function toList(scope: unknown): string[] {
  return typeof scope === 'string' ? scope.split(' ').filter((name) => name !== '') : [];
}

function toIdentifiers({ resource }: Readonly<Record<string, unknown>>): string[] {
  return [resource ?? []].flat().map(String);
}

/** A parameter whose syntax the engine has checked. */
function fromJson<T>(parameter: unknown): T | undefined {
  return typeof parameter === 'string' ? (JSON.parse(parameter) as T) : undefined;
}
