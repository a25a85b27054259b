// What the engine reports. Issued tokens, logouts and the answers of the device flow go to the audit
// log, in one transaction with what they tell of. Refusals go to the log, with the reason that the
// client does not see.

import type Provider from 'oidc-provider';
import type { errors, KoaContextWithOIDC } from 'oidc-provider';
import type { Log } from '../log.ts';
import { ENDPOINT_LABELS, type EndpointLabel } from '../metrics/closed-lists.ts';
import type { Metrics } from '../metrics/metrics.ts';
import { DEVICE_DENIED } from './grants/device-flow.ts';
import { type ReportedToken, tokenEvent } from './storage/token-event.ts';
import type { UnitOfWork } from './storage/unit-of-work.ts';

export interface EventsDeps {
  readonly unitOfWork: UnitOfWork;
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

function reportTokens(provider: Provider, { unitOfWork, metrics, noteUse }: EventsDeps): void {
  const issued = (token: ReportedToken) => {
    unitOfWork.record(tokenEvent('token.issued', token));
    unitOfWork.afterwards(() => metrics.tokenIssued(token));
    if (token.clientId !== undefined) noteUse(token.clientId);
  };
  provider.on('access_token.saved', issued);
  provider.on('access_token.issued', issued);
  provider.on('refresh_token.saved', issued);
  provider.on('client_credentials.saved', issued);
  provider.on('client_credentials.issued', issued);
}

function reportDevices(provider: Provider, { unitOfWork }: EventsDeps): void {
  provider.on('authorization.success', (ctx) => {
    const { DeviceCode: code } = ctx.oidc.entities;
    if (code === undefined) return;
    const { accountId, clientId } = code;
    unitOfWork.record({ type: 'device.authorized', actor: `user:${accountId}`, accountId, clientId });
  });
  provider.on(DEVICE_DENIED as never, (ctx: KoaContextWithOIDC) => {
    const { DeviceCode: code, Interaction: interaction } = ctx.oidc.entities;
    const clientId = code?.clientId ?? String(interaction?.params.client_id);
    unitOfWork.record({ type: 'device.denied', actor: 'system', clientId });
  });
}

function recordLogout({ unitOfWork }: EventsDeps, ctx: KoaContextWithOIDC): void {
  const accountId = ctx.oidc.session?.accountId;
  if (accountId === undefined) return;
  const clientId = ctx.oidc.client?.clientId;
  unitOfWork.record({ type: 'logout.completed', actor: `user:${accountId}`, accountId, clientId });
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
