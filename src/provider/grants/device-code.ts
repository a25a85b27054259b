// The device code exchanged (RFC 8628 §3.4): a device asks again and again until the person has confirmed.

import { type Client, type DeviceCode, errors, type Grant as UserGrant } from 'oidc-provider';
import { isSameClient } from '../../client-binding.ts';
import type { Query } from '../../database/database.ts';
import { artifactId } from '../storage/artifacts.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import type { RevokeReplayed } from '../tokens/replayed.ts';
import { isGrantOf } from '../tokens/token-with-grant.ts';
import type { Grant, GrantParameters, TokenResponse } from './grant.ts';
import { assertProven, type Proof } from './proof.ts';
import { findSourceUser, issueUserTokens, type UserTokensDeps } from './user-tokens.ts';

export const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';

/** RFC 8628 §3.2: what a device that is told nothing else has to keep to. */
export const POLL_SECONDS = 5;
/** §3.5 */
const SLOWER_BY_SECONDS = 5;
/** Networks do not keep time. */
const TOLERANCE_SECONDS = 1;

const POLL = {
  name: 'device_poll',
  text: `INSERT INTO device_polls AS p (id, interval_seconds, expires_at) VALUES ($1, ${POLL_SECONDS}, $2)
         ON CONFLICT (id) DO UPDATE SET polled_at = now(),
           was_too_fast = p.polled_at + make_interval(secs => p.interval_seconds - ${TOLERANCE_SECONDS}) > now(),
           interval_seconds = p.interval_seconds + CASE
             WHEN p.polled_at + make_interval(secs => p.interval_seconds - ${TOLERANCE_SECONDS}) > now()
             THEN ${SLOWER_BY_SECONDS} ELSE 0 END
         RETURNING was_too_fast`,
};

export interface DeviceCodeDeps extends UserTokensDeps {
  readonly query: Query;
  readonly revokeReplayed: RevokeReplayed;
  readonly unitOfWork: Pick<UnitOfWork, 'requestId'>;
}

export function deviceCode(deps: DeviceCodeDeps): Grant {
  return {
    type: DEVICE_CODE,
    parameters: ['device_code', 'resource', 'audience', 'authorization_details'],
    required: ['device_code'],
    repeatable: ['resource'],
    issue: (client, parameters, proof) => redeem(deps, client, parameters, proof),
  };
}

async function redeem(
  deps: DeviceCodeDeps,
  client: Client,
  parameters: GrantParameters,
  proof: Proof,
): Promise<TokenResponse> {
  const value = String(parameters.device_code);
  const code = await deps.provider.DeviceCode.find(value, { ignoreExpiration: true });
  if (code === undefined) throw new errors.InvalidGrant('device code not found');
  if (!isSameClient(code.clientId, client.clientId)) throw new errors.InvalidGrant('client mismatch');
  assertProven(client, proof);
  if (code.isExpired) throw new errors.ExpiredToken('device code is expired');
  if (code.accountId === undefined && code.error === undefined) await refusePending(deps.query, value, code);
  if (code.consumed !== undefined) {
    await deps.revokeReplayed({
      model: 'DeviceCode',
      artifactId: artifactId('DeviceCode', value),
      requestId: deps.unitOfWork.requestId(),
    });
    throw new errors.InvalidGrant('device code already used');
  }
  await code.consume();
  if (code.error !== undefined) throw new errors.CustomOIDCProviderError(code.error, code.errorDescription ?? '');
  const grant = await findGrant(deps, code);
  const user = await findSourceUser(deps.directory, code);
  return issueUserTokens(deps, { client, parameters, proof, source: code, grant, user }, 'device_code');
}

/** RFC 8628 §3.5. Only the client that the code was issued to slows itself down. */
async function refusePending(query: Query, value: string, code: DeviceCode): Promise<never> {
  const expiresAt = new Date((code.exp ?? 0) * 1000);
  const { rows } = await query<{ was_too_fast: boolean }>(POLL, [artifactId('DeviceCode', value), expiresAt]);
  throw rows[0]?.was_too_fast ? new errors.SlowDown() : new errors.AuthorizationPending();
}

async function findGrant({ provider }: DeviceCodeDeps, code: DeviceCode): Promise<UserGrant> {
  const grant = await provider.Grant.find(code.grantId, { ignoreExpiration: true });
  if (grant === undefined || !isGrantOf(grant, code)) {
    throw new errors.InvalidGrant('grant not found, expired, or of another client or user');
  }
  return grant;
}
