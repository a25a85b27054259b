// What the engine reports. Issued and revoked tokens go to the audit log, in one transaction with
// the tokens. Refusals go to the log, with the reason that the client does not see.

import type Provider from 'oidc-provider';
import type { errors, KoaContextWithOIDC } from 'oidc-provider';
import { type AuditEvent, recordAudit } from '../audit/audit.ts';
import type { Log } from '../log.ts';
import { ENDPOINT_LABELS, type EndpointLabel } from '../metrics/closed-lists.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { currentContext } from './engine-internals.ts';
import { DEVICE_DENIED } from './grants/device-flow.ts';
import type { LogoutTransaction } from './logout/logout-transaction.ts';
import type { UnitOfWork } from './storage/unit-of-work.ts';

/** The members of the token models that an audit event keeps; none of them is a credential. */
interface ReportedToken {
  readonly kind: string;
  readonly format?: string | undefined;
  readonly jti: string;
  readonly clientId?: string | undefined;
  readonly accountId?: string;
  readonly aud?: string | string[] | undefined;
  readonly scope?: string | undefined;
  readonly gty?: string | undefined;
  readonly jkt?: string | undefined;
  readonly 'x5t#S256'?: string | undefined;
}

export interface EventsDeps {
  readonly unitOfWork: UnitOfWork;
  readonly logout: LogoutTransaction;
  readonly metrics: Metrics;
  /** of dynamically registered clients */
  readonly noteUse: (clientId: string) => void;
  readonly log: Log;
}

export function reportEvents(provider: Provider, deps: EventsDeps): void {
  reportTokens(provider, deps);
  reportDevices(provider, deps);
  provider.on('end_session.success', (ctx) => recordLogout(deps, ctx));
  reportRefusals(provider, deps);
}

function reportTokens(provider: Provider, deps: EventsDeps): void {
  const issued = (token: ReportedToken) => {
    recordToken(deps, 'token.issued', token);
    if (token.clientId !== undefined) deps.noteUse(token.clientId);
  };
  provider.on('access_token.saved', issued);
  provider.on('access_token.issued', issued);
  provider.on('refresh_token.saved', issued);
  provider.on('client_credentials.saved', issued);
  provider.on('client_credentials.issued', issued);

  const destroyed = (token: ReportedToken) => {
    if (currentContext()?.oidc.route === 'revocation') recordToken(deps, 'token.revoked', token);
  };
  provider.on('access_token.destroyed', destroyed);
  provider.on('client_credentials.destroyed', destroyed);
  provider.on('refresh_token.destroyed', destroyed);
}

function recordToken(deps: EventsDeps, type: 'token.issued' | 'token.revoked', token: ReportedToken): void {
  const { unitOfWork, metrics } = deps;
  record(deps, {
    type,
    actor: `client:${token.clientId}`,
    clientId: token.clientId,
    accountId: token.accountId,
    detail: {
      kind: token.kind,
      ...(token.format === 'jwt' ? { format: 'jwt', jti: token.jti } : {}),
      ...(token.aud === undefined ? {} : { aud: token.aud }),
      ...(token.scope === undefined ? {} : { scope: token.scope }),
      ...(token.gty === undefined ? {} : { grant_type: token.gty }),
      ...boundKey(token),
    },
  });
  unitOfWork.afterwards(() => (type === 'token.issued' ? metrics.tokenIssued(token) : metrics.tokenRevoked(token)));
}

function record({ unitOfWork, log }: EventsDeps, event: AuditEvent): void {
  const requestId = unitOfWork.requestId() ?? currentContext()?.get('x-request-id');
  unitOfWork.write({ kind: 'audit', event: { requestId, ...event } }).catch((error: unknown) => {
    log.error({ error, type: event.type, request_id: requestId }, 'an audit event was lost');
  });
}

function reportDevices(provider: Provider, deps: EventsDeps): void {
  provider.on('authorization.success', (ctx) => {
    const { DeviceCode: code } = ctx.oidc.entities;
    if (code === undefined) return;
    const { accountId, clientId } = code;
    record(deps, { type: 'device.authorized', actor: `user:${accountId}`, accountId, clientId });
  });
  provider.on(DEVICE_DENIED as never, (ctx: KoaContextWithOIDC) => {
    const { DeviceCode: code, Interaction: interaction } = ctx.oidc.entities;
    const clientId = code?.clientId ?? String(interaction?.params.client_id);
    record(deps, { type: 'device.denied', actor: 'system', clientId });
  });
}

function recordLogout({ logout, log }: EventsDeps, ctx: KoaContextWithOIDC): void {
  const accountId = ctx.oidc.session?.accountId;
  if (accountId === undefined) return;
  const event = { actor: `user:${accountId}`, accountId, clientId: ctx.oidc.client?.clientId };
  const requestId = ctx.get('x-request-id');
  logout
    .write((query) => recordAudit(query, { type: 'logout.completed', requestId, ...event }))
    .catch((error: unknown) => {
      log.error({ error, type: 'logout.completed', request_id: requestId }, 'an audit event was lost');
    });
}

function reportRefusals(provider: Provider, { metrics, log }: EventsDeps): void {
  const refused = (endpoint: EndpointLabel) => (ctx: KoaContextWithOIDC, error: errors.OIDCProviderError) => {
    metrics.refused(endpoint, error.error);
    const refusal = {
      request_id: ctx.get('x-request-id'),
      endpoint,
      client_id: ctx.oidc.client?.clientId,
      oauth_error: error.error,
      reason: error.error_detail ?? error.error_description,
    };
    log.info(refusal, 'refused');
  };
  provider.on('grant.error', refused('token'));
  provider.on('authorization.error', refused('authorization'));
  provider.on('pushed_authorization_request.error', refused('pushed_authorization_request'));
  provider.on('device_authorization.error', refused('device_authorization'));
  provider.on('introspection.error', refused('introspection'));
  provider.on('revocation.error', refused('revocation'));
  provider.on('userinfo.error', refused('userinfo'));
  provider.on('end_session.error', refused('logout'));
  provider.on('server_error', (ctx, error) => {
    const endpoint = ENDPOINT_LABELS.find((label) => label === ctx.oidc.route);
    if (endpoint !== undefined) metrics.refused(endpoint, 'server_error');
    log.error({ request_id: ctx.get('x-request-id'), error }, 'the engine failed');
  });
}

/** RFC 7800, by the name that it has in the token. A thumbprint is no secret. */
function boundKey({ jkt, 'x5t#S256': certificate }: ReportedToken): { cnf?: Record<string, string> } {
  if (jkt !== undefined) return { cnf: { jkt } };
  return certificate === undefined ? {} : { cnf: { 'x5t#S256': certificate } };
}
