// What the short path answers: the steps of the engine's handlers for client_credentials and introspection that are left when a
// request is plain, its client known, and everything about it as it should be.

import { hash } from 'node:crypto';
import type Provider from 'oidc-provider';
import type { Client, ClientCredentials } from 'oidc-provider';
import type { Directory } from './directory.ts';
import type { IntrospectionPolicy } from './introspection.ts';
import { findIssuedToken, hasItsGrant, type IssuedToken } from './issued-token.ts';
import type { JwtBridge } from './jwt-bridge.ts';
import { findPermitted, type ResourcePolicy } from './resource-server-info.ts';
import type { ShortAnswer } from './short-path.ts';
import { markedModel } from './token-marks.ts';

export interface ShortAnswersDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly resourcePolicy: Pick<ResourcePolicy, 'describe'>;
  readonly introspectionPolicy: IntrospectionPolicy;
  readonly jwtBridge: Pick<JwtBridge, 'verify' | 'toStored'>;
}

/** RFC 6749 §3.3 */
const SCOPES = /^[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*$/;

/** POST /oauth2/token (RFC 6749 §4.4) */
export function shortClientCredentials(deps: ShortAnswersDeps): ShortAnswer {
  const { provider, directory } = deps;
  const answer: ShortAnswer['answer'] = async ({ client, params }) => {
    if (params.get('grant_type') !== 'client_credentials' || !hasOnly(params, ['grant_type', 'scope', 'resource']))
      return;
    if (!client.grantTypeAllowed('client_credentials') || client.scope !== undefined) return;
    if (mustProveItsKey(client)) return;

    const resource = params.get('resource') ?? (await onlyResourceOf(directory, client.clientId));
    if (resource === undefined || !URL.canParse(resource) || resource.includes('#')) return;
    const permitted = await findPermitted(directory, resource, client.clientId);
    if (permitted === undefined) return;
    const requested = params.get('scope') ?? permitted.scope;
    if (!SCOPES.test(requested)) return;
    const allowed = new Set(permitted.scope.split(' '));
    const scope = [...new Set(requested.split(' '))].filter((name) => allowed.has(name)).join(' ');
    if (scope === '') return;

    const token = new provider.ClientCredentials({ client, scope });
    const { ResourceServer: Server } = provider as unknown as { ResourceServer: ResourceServerClass };
    token.resourceServer = new Server(resource, deps.resourcePolicy.describe(permitted));
    const value = await token.save();
    return { access_token: value, expires_in: token.expiration, scope, token_type: token.tokenType };
  };
  return { exposedHeaders: 'DPoP-Nonce,WWW-Authenticate', answer };
}

/** Its tokens are bound to a key that this path does not look for. */
function mustProveItsKey(client: Client): boolean {
  const { dpopBoundAccessTokens, tlsClientCertificateBoundAccessTokens } = client as Client & {
    dpopBoundAccessTokens?: boolean;
    tlsClientCertificateBoundAccessTokens?: boolean;
  };
  return dpopBoundAccessTokens === true || tlsClientCertificateBoundAccessTokens === true;
}

type ResourceServerClass = new (identifier: string, info: object) => ClientCredentials['resourceServer'];

async function onlyResourceOf(directory: Directory, clientId: string): Promise<string | undefined> {
  const [first, second] = (await directory.findGrants(clientId))?.keys() ?? [];
  return second === undefined ? first : undefined;
}

const INACTIVE = { active: false } as const;

/** POST /oauth2/introspect (RFC 7662 §2) */
export function shortIntrospection(deps: ShortAnswersDeps): ShortAnswer {
  const { provider, introspectionPolicy } = deps;
  const answer: ShortAnswer['answer'] = async ({ ctx, client, params }) => {
    const value = params.get('token');
    // RFC 9701 §4: who asks for it gets a signed answer.
    if (ctx.get('Accept').includes('jwt')) return;
    if (value === undefined || !hasOnly(params, ['token', 'token_type_hint'])) return;
    if (markedModel(value) === undefined && value.split('.').length !== 3) return;

    const token = await findIssuedToken(deps, value);
    if (token === undefined || !token.isValid) return { ...INACTIVE };
    if (!isOrdinary(token) || (await hasPairwiseSubject(deps, token))) return;
    if (!(await hasItsGrant(provider, token))) return { ...INACTIVE };
    if (!(await introspectionPolicy(ctx as never, client, token))) return { ...INACTIVE };
    const { accountId, extra, sid } = token as { accountId?: string; extra?: object; sid?: string };
    return {
      active: true,
      ...(accountId === undefined ? {} : { sub: accountId }),
      ...extra,
      client_id: token.clientId,
      exp: token.exp,
      iat: token.iat,
      sid,
      iss: provider.issuer,
      jti: token.jti === value ? hash('sha256', value, 'base64url') : token.jti,
      aud: (token as { aud?: string | string[] }).aud,
      scope: token.scope || undefined,
      token_type: token.kind === 'RefreshToken' ? 'refresh_token' : token.tokenType,
    };
  };
  return { exposedHeaders: 'WWW-Authenticate', answer };
}

/** Everything else about a token that changes the answer is the engine's business. */
function isOrdinary(token: IssuedToken): boolean {
  return (
    ['AccessToken', 'ClientCredentials', 'RefreshToken'].includes(token.kind) &&
    !token.isSenderConstrained() &&
    (token as { rar?: unknown }).rar === undefined
  );
}

/** The subject is another one at each sector. */
async function hasPairwiseSubject({ directory }: ShortAnswersDeps, token: IssuedToken): Promise<boolean> {
  const client = token.clientId === undefined ? undefined : await directory.findClient(token.clientId);
  return client?.metadata.subject_type === 'pairwise';
}

function hasOnly(params: ReadonlyMap<string, string>, names: readonly string[]): boolean {
  return [...params.keys()].every((name) => names.includes(name));
}
