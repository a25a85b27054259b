// POST /oauth2/introspect on the short path (RFC 7662 §2): what is left of the engine's handler when caller and token are plain.

import type Provider from 'oidc-provider';
import type { Client } from 'oidc-provider';
import type { Metrics } from '../../metrics/metrics.ts';
import { hasOnly } from '../grants/grant.ts';
import type { Directory } from '../policy/directory.ts';
import { findIssuedToken, hasItsGrant, type IssuedToken } from '../tokens/find-token.ts';
import { type IntrospectionPolicy, introspectionOutcome, nameOf, REFRESH_TOKEN_TYPE } from '../tokens/introspection.ts';
import type { JwtAccessTokens } from '../tokens/jwt-access-tokens.ts';
import { modelByPrefix } from '../tokens/token-prefixes.ts';
import type { FindTokenWithGrant } from '../tokens/token-with-grant.ts';
import type { FastEndpoint } from './fast-endpoint.ts';
import { announcesPlainForm, type PlainFormDeps, readPlainForm } from './plain-request.ts';

export interface FastIntrospectionDeps extends PlainFormDeps {
  readonly provider: Provider;
  readonly directory: Directory;
  readonly findTokenWithGrant: FindTokenWithGrant;
  readonly introspectionPolicy: IntrospectionPolicy;
  readonly jwtAccessTokens: Pick<JwtAccessTokens, 'verify' | 'toStored'>;
  readonly metrics: Pick<Metrics, 'introspected'>;
}

const INACTIVE = { active: false } as const;

export function fastIntrospection(deps: FastIntrospectionDeps): FastEndpoint {
  /** @returns undefined: something about this token changes the answer in a way that is the engine's business */
  async function describe(asked: object, caller: Client, value: string): Promise<{ active: boolean } | undefined> {
    const token = await findActiveToken(deps, value);
    if (token === undefined) return INACTIVE;
    if (!isOrdinary(token) || (await hasPairwiseSubject(deps, token))) return undefined;
    if (!(await deps.introspectionPolicy(asked, caller, token))) return INACTIVE;
    const { accountId, extra, sid } = token as { accountId?: string; extra?: object; sid?: string };
    return {
      active: true,
      ...(accountId === undefined ? {} : { sub: accountId }),
      ...extra,
      client_id: token.clientId,
      exp: token.exp,
      iat: token.iat,
      sid,
      iss: deps.provider.issuer,
      jti: token.jti === value ? nameOf(value) : token.jti,
      aud: (token as { aud?: string | string[] }).aud,
      scope: token.scope || undefined,
      token_type: token.kind === 'RefreshToken' ? REFRESH_TOKEN_TYPE : token.tokenType,
    } as { active: boolean };
  }

  return {
    exposedHeaders: 'WWW-Authenticate',
    // RFC 9701 §4: who asks for it gets a signed answer.
    takes: (request) => announcesPlainForm(request) && !request.headers.accept?.includes('jwt'),
    async answer(request) {
      const form = await readPlainForm(deps, request);
      if (form === undefined || !hasOnly(form.params, ['token', 'token_type_hint'])) return;
      const { client, params } = form;
      const value = params.get('token');
      if (value === undefined || client.clientAuthMethod === 'none') return;
      if (modelByPrefix(value) === undefined && value.split('.').length !== 3) return;
      const answer = await describe(request, client, value);
      if (answer !== undefined) deps.metrics.introspected(introspectionOutcome(answer.active, request));
      return answer;
    },
  };
}

/** @returns undefined if there is none that is valid now; its client and its user have still to be asked about */
async function findActiveToken(deps: FastIntrospectionDeps, value: string): Promise<IssuedToken | undefined> {
  const model = modelByPrefix(value);
  if (model === 'AccessToken' || model === 'RefreshToken') return (await deps.findTokenWithGrant(model, value))?.source;
  const token = await findIssuedToken(deps, value);
  return token?.isValid && (await hasItsGrant(deps.provider, token)) ? token : undefined;
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
async function hasPairwiseSubject({ directory }: FastIntrospectionDeps, token: IssuedToken): Promise<boolean> {
  const client = token.clientId === undefined ? undefined : await directory.findClient(token.clientId);
  return client?.metadata.subject_type === 'pairwise';
}
