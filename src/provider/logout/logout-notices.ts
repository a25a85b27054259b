// Back-channel logout (OpenID Connect Back-Channel Logout 1.0): each client that a user was signed
// in to is told that the session has ended. The engine would send each notice once, while the user
// waits. Here they are jobs, stored in the transaction that ends the session; a logout token is
// made when it is sent, because it is valid for two minutes.

import type Provider from 'oidc-provider';
import type { JobQueue } from '../../database/job-queue.ts';
import { overrideMethod } from '../engine-internals.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';

export interface LogoutNotice {
  readonly clientId: string;
  readonly accountId: string;
  /** of the session at this client */
  readonly sid: string;
}

export type LogoutNotices = JobQueue<LogoutNotice>;

/**
 * @returns undefined when the client does not exist any more, or has no `backchannel_logout_uri`
 * any more
 */
export type SendLogoutNotice = (notice: LogoutNotice) => Promise<'sent' | undefined>;

export interface LogoutNoticesDeps {
  readonly provider: Provider;
  readonly notices: Pick<LogoutNotices, 'add'>;
  readonly unitOfWork: Pick<UnitOfWork, 'step'>;
}

/**
 * @returns what sends a notice in the end, and throws when the client does not answer 200 or 204
 */
export function installLogoutNotices({ provider, notices, unitOfWork }: LogoutNoticesDeps): SendLogoutNotice {
  const send = overrideMethod(provider, 'Client.prototype.backchannelLogout', () => {
    return function (accountId, sid) {
      const notice = { clientId: this.clientId, accountId, sid };
      return unitOfWork.step((query) => notices.add(query, notice));
    };
  });
  return async ({ clientId, accountId, sid }) => {
    const client = await provider.Client.find(clientId);
    if (client?.backchannelLogoutUri === undefined) return undefined;
    await send.call(client, accountId, sid);
    return 'sent';
  };
}
