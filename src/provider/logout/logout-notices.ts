// Back-channel logout (OpenID Connect Back-Channel Logout 1.0): each app that a user was signed in to is told that the session has
// ended. The engine would send the notices while the user waits, once; here they are jobs, stored in the transaction that ends
// the session, and the logout token is made when it is sent: it is good for two minutes.

import type Provider from 'oidc-provider';
import type { Client } from 'oidc-provider';
import type { JobQueue } from '../../database/job-queue.ts';
import type { Directory } from '../policy/directory.ts';
import type { LogoutTransaction } from './logout-transaction.ts';

export interface LogoutNotice {
  readonly clientId: string;
  readonly accountId: string;
  /** of the session at this client */
  readonly sid: string;
}

export type LogoutNotices = JobQueue<LogoutNotice>;

/** @returns undefined when the client is gone or does not want to be told any more */
export type SendLogoutNotice = (notice: LogoutNotice) => Promise<'sent' | undefined>;

export interface LogoutNoticesDeps {
  readonly provider: Provider;
  readonly notices: Pick<LogoutNotices, 'add'>;
  readonly logout: LogoutTransaction;
  readonly directory: Directory;
}

/** @returns what sends a notice at last, and throws when the client does not answer 200 or 204 */
export function installLogoutNotices({ provider, notices, logout, directory }: LogoutNoticesDeps): SendLogoutNotice {
  const { prototype } = provider.Client as unknown as { prototype: BackchannelClient };
  const send = prototype.backchannelLogout;
  prototype.backchannelLogout = function (accountId, sid) {
    const notice = { clientId: this.clientId, accountId, sid };
    return logout.write((query) => notices.add(query, notice));
  };
  endTokensWhereAsked(provider, directory);
  return async ({ clientId, accountId, sid }) => {
    const client = (await provider.Client.find(clientId)) as BackchannelClient | undefined;
    if (client?.backchannelLogoutUri === undefined) return undefined;
    await send.call(client, accountId, sid);
    return 'sent';
  };
}

type BackchannelClient = Client & {
  readonly backchannelLogoutUri?: string;
  backchannelLogout(accountId: string, sid: string): Promise<void>;
};

/**
 * What a user has given with offline_access outlives the session (§2.7), and the session says so. A client that has registered
 * `revoke_tokens_on_logout` gives that up.
 */
function endTokensWhereAsked(provider: Provider, directory: Directory): void {
  const { prototype } = provider.Session as unknown as { prototype: StoredSession };
  const save = prototype.save;
  prototype.save = async function (ttl) {
    for (const [clientId, authorization] of Object.entries(this.authorizations ?? {})) {
      if (authorization.persistsLogout !== true) continue;
      const client = await directory.findClient(clientId);
      if (client?.metadata.revoke_tokens_on_logout) authorization.persistsLogout = false;
    }
    return save.call(this, ttl);
  };
}

interface StoredSession {
  authorizations?: Record<string, { persistsLogout?: boolean }>;
  save(ttl: number): Promise<unknown>;
}
