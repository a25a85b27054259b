// Consent: what an authorization request asks for, in words for the user, and what is stored when
// the user allows it.

import { isDeepStrictEqual } from 'node:util';
import { recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError } from '../errors.ts';
import type { Engine, Interaction } from '../provider/engine.ts';
import type { AuthorizationDetail } from '../resource-servers/authorization-details.ts';
import { isSameIdentifier } from '../resource-servers/identifier.ts';
import { findResourceServer } from '../resource-servers/store.ts';
import { addConsent } from '../users/store.ts';

export interface AskedApi {
  readonly identifier: string;
  readonly name: string;
  readonly scopes: readonly string[];
}

export interface AskedDetail {
  readonly description: string;
  /** the members of the detail with their values */
  readonly members: readonly { readonly name: string; readonly text: string }[];
}

export interface ScopesInWords {
  readonly identityScopes: readonly { readonly name: string; readonly label: string }[];
  readonly apis: readonly AskedApi[];
}

export interface AskedFor {
  readonly asked: ScopesInWords;
  /** names of single claims (OpenID Connect Core §5.5) */
  readonly claims: readonly string[];
  /** authorization details (RFC 9396) */
  readonly details: readonly AskedDetail[];
  /** what is asked for too, but was allowed before; undefined if there is nothing */
  readonly allowedBefore: ScopesInWords | undefined;
}

const LABELS: Readonly<Record<string, string>> = {
  openid: 'Know who you are',
  profile: 'Read your profile',
  email: 'Read your email address',
  address: 'Read your postal address',
  phone: 'Read your phone number',
  offline_access: 'Stay connected while you are away',
};

interface Scopes {
  readonly identityScopes: readonly string[];
  readonly apiScopes: Readonly<Record<string, readonly string[]>>;
}

type GrownGrant = Parameters<Parameters<Engine['growGrant']>[2]>[0];

/** What the engine found missing in the grant. */
interface Missing {
  readonly missingOIDCScope?: string[];
  readonly missingOIDCClaims?: string[];
  readonly missingResourceScopes?: Record<string, string[]>;
  readonly rar?: AuthorizationDetail[];
}

function missingOf({ prompt }: Interaction): Missing {
  return prompt.details;
}

function missingScopes(interaction: Interaction): Scopes {
  const { missingOIDCScope: identityScopes = [], missingResourceScopes: apiScopes = {} } = missingOf(interaction);
  return { identityScopes, apiScopes };
}

/** With `prompt=consent`, and for native apps, the page is shown although nothing is missing. */
async function allowedBefore({ provider }: Engine, { grantId, params }: Interaction): Promise<Scopes> {
  const grant = grantId === undefined ? undefined : await provider.Grant.find(grantId);
  const requested = new Set(String(params.scope ?? '').split(' '));
  const toList = (scopes: string | undefined) => scopes?.split(' ').filter((name) => name !== '') ?? [];
  const apis = [params.resource ?? []].flat().map((identifier): [string, string[]] => {
    return [String(identifier), toList(grant?.getResourceScopeFiltered(String(identifier), requested))];
  });
  return {
    identityScopes: toList(grant?.getOIDCScopeFiltered(requested)),
    apiScopes: Object.fromEntries(apis.filter(([, scopes]) => scopes.length > 0)),
  };
}

export async function describeRequest(
  { query, engine }: { query: Query; engine: Engine },
  interaction: Interaction,
): Promise<AskedFor> {
  const [asked, before] = await Promise.all([
    inWords(query, missingScopes(interaction)),
    inWords(query, await allowedBefore(engine, interaction)),
  ]);
  const hasBefore = before.identityScopes.length + before.apis.length > 0;
  return {
    asked,
    claims: missingOf(interaction).missingOIDCClaims ?? [],
    details: await detailsInWords(query, interaction),
    allowedBefore: hasBefore ? before : undefined,
  };
}

async function detailsInWords(query: Query, interaction: Interaction): Promise<AskedDetail[]> {
  const { rar: requested = [] } = missingOf(interaction);
  if (requested.length === 0) return [];
  const identifiers = [interaction.params.resource ?? []].flat().map(String);
  const resourceServers = await Promise.all(identifiers.map((identifier) => findResourceServer(query, identifier)));
  return requested.map(({ type, ...members }) => ({
    description:
      resourceServers
        .filter((each) => members.locations?.some((one) => isSameIdentifier(one, each?.identifier ?? '')) ?? true)
        .flatMap((each) => each?.authorizationDetailsTypes[type]?.description ?? [])
        .join('; ') || type,
    members: Object.entries(members).map(([name, value]) => ({ name, text: inText(value) })),
  }));
}

function inText(value: unknown): string {
  if (Array.isArray(value) && value.every((each) => typeof each === 'string')) return value.join(', ');
  return typeof value === 'string' ? value : JSON.stringify(value);
}

async function inWords(query: Query, { identityScopes, apiScopes }: Scopes): Promise<ScopesInWords> {
  const apis = Object.entries(apiScopes).map(async ([identifier, scopes]) => {
    const resourceServer = await findResourceServer(query, identifier);
    return { identifier, name: resourceServer?.name || identifier, scopes };
  });
  return {
    identityScopes: identityScopes.map((name) => ({ name, label: LABELS[name] ?? name })),
    apis: await Promise.all(apis),
  };
}

/** What a request names, before it is known which user will be asked. */
export async function requestInWords(query: Query, params: Readonly<Record<string, unknown>>): Promise<ScopesInWords> {
  const scopes = String(params.scope ?? '').split(' ');
  const apis: [string, string[]][] = [];
  for (const identifier of [params.resource ?? []].flat().map(String)) {
    const resourceServer = await findResourceServer(query, identifier);
    apis.push([identifier, scopes.filter((name) => resourceServer?.scopes.includes(name))]);
  }
  return inWords(query, {
    identityScopes: scopes.filter((name) => Object.hasOwn(LABELS, name)),
    apiScopes: Object.fromEntries(apis),
  });
}

/**
 * Stores what the user allows: as remembered consent for the client, and in the grant of this
 * session.
 * @returns the id of the grant
 */
export async function allow(
  deps: { database: Database; engine: Engine },
  interaction: Interaction,
  { requestId, judgedAt }: { requestId: string; judgedAt: number },
): Promise<string> {
  const { identityScopes, apiScopes } = missingScopes(interaction);
  const { missingOIDCClaims: claims = [], rar: details = [] } = missingOf(interaction);
  const { grantId, session: { accountId, uid: sessionUid } = {} } = interaction;
  if (accountId === undefined) throw new AppError('conflict', 'Sign in first.');
  const clientId = String(interaction.params.client_id);

  return deps.database.transaction(async (query) => {
    const owner = { accountId, clientId, sessionUid, grantId, judgedAt };
    const grown = await deps.engine.growGrant(query, owner, (grant) => addTo(grant, missingOf(interaction)));
    if (identityScopes.length > 0) await addConsent(query, accountId, clientId, '', identityScopes);
    for (const [identifier, scopes] of Object.entries(apiScopes)) {
      await addConsent(query, accountId, clientId, identifier, scopes);
    }
    await recordAudit(query, {
      type: 'consent.granted',
      actor: `user:${accountId}`,
      accountId,
      clientId,
      requestId,
      detail: {
        scopes: identityScopes,
        resource_servers: apiScopes,
        ...(claims.length === 0 ? {} : { claims }),
        ...(details.length === 0 ? {} : { authorization_details: details }),
      },
    });
    return grown;
  });
}

function addTo(grant: GrownGrant, missing: Missing): void {
  const { missingOIDCScope: scopes = [], missingOIDCClaims: claims = [], missingResourceScopes, rar = [] } = missing;
  if (scopes.length > 0) grant.addOIDCScope(scopes.join(' '));
  for (const [identifier, names] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(identifier, names.join(' '));
  }
  if (claims.length > 0) grant.addOIDCClaims(claims);
  const allowedBefore = grant.rar ?? [];
  for (const detail of rar) {
    if (!allowedBefore.some((other) => isDeepStrictEqual(other, detail))) grant.addRar(detail);
  }
}
