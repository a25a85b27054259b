// Sessions and logout: what ends when a user signs out (end-session), and who
// is told (logout-notices, logout-delivery). This file lists and ends the browser sessions of a
// user for the admin API. The engine makes sessions and stores them through tokens/model-adapter.

import { type ChangedBy, recordAudit } from '../../audit/audit.ts';
import type { Database, Query } from '../../database/database.ts';
import type { Directory } from '../policy/directory.ts';
import { artifactId, removeGrant } from '../storage/artifacts.ts';
import { HAS_ENDED, markSessionEnded } from '../storage/ended-sessions.ts';
import type { LogoutNotice, LogoutNotices } from './logout-notices.ts';

export interface UserSession {
  /** the uid; not the value of the cookie */
  readonly id: string;
  readonly signedInAt: Date;
  readonly expiresAt: Date;
  readonly acr: string | undefined;
  readonly amr: readonly string[];
  /** the apps that the user has signed in to with it */
  readonly clientIds: readonly string[];
}

export interface Sessions {
  /** @returns up to `limit` + 1 */
  list(accountId: string, page: { after: string | undefined; limit: number }): Promise<UserSession[]>;
  /** @returns whether there was one */
  end(accountId: string, sessionId: string, by: ChangedBy): Promise<boolean>;
  /** Notifies the apps of all sessions, before they are removed. */
  notifyAll(query: Query, accountId: string): Promise<void>;
}

export interface SessionsDeps {
  readonly database: Pick<Database, 'query' | 'transaction'>;
  readonly directory: Pick<Directory, 'findClient'>;
  readonly notices: Pick<LogoutNotices, 'addAll'>;
  readonly sessionSeconds: number;
}

/** The members of the engine's Session that are read here. */
interface Payload {
  readonly loginTs: number;
  readonly acr?: string;
  readonly amr?: readonly string[];
  readonly authorizations?: Readonly<Record<string, { sid: string; grantId?: string; persistsLogout?: boolean }>>;
}

// The id of a session changes, its uid does not: for a time it may be known by two, with the same
// entries.
const SQL = {
  list: {
    name: 'session_list',
    text: `SELECT DISTINCT ON (uid) uid, payload, expires_at FROM oidc_artifacts
           WHERE model = 'Session' AND account_id = $1 AND expires_at > now() AND ($2::text IS NULL OR uid > $2)
             AND NOT ${HAS_ENDED}
           ORDER BY uid, expires_at DESC LIMIT $3`,
  },
  all: {
    name: 'session_all',
    text: `SELECT DISTINCT ON (uid) payload FROM oidc_artifacts WHERE model = 'Session' AND account_id = $1
           ORDER BY uid, expires_at DESC`,
  },
  end: {
    name: 'session_end',
    text: `WITH all_ids AS (
             SELECT id FROM oidc_artifacts WHERE model = 'Session' AND account_id = $1 AND uid = $2 ORDER BY id FOR UPDATE
           ), gone AS (
             DELETE FROM oidc_artifacts WHERE model = 'Session' AND id IN (SELECT id FROM all_ids)
             RETURNING payload, expires_at
           ) SELECT payload FROM gone ORDER BY expires_at DESC LIMIT 1`,
  },
};

async function noticesOf(
  directory: Pick<Directory, 'findClient'>,
  accountId: string,
  ended: readonly { payload: Payload }[],
): Promise<LogoutNotice[]> {
  const notices: LogoutNotice[] = [];
  for (const { payload } of ended) {
    for (const [clientId, { sid }] of Object.entries(payload.authorizations ?? {})) {
      const client = await directory.findClient(clientId);
      if (client?.metadata.backchannel_logout_uri !== undefined) notices.push({ clientId, accountId, sid });
    }
  }
  return notices;
}

export function createSessions({ database, directory, notices, sessionSeconds }: SessionsDeps): Sessions {
  /** One statement, however many sessions end. */
  async function notify(query: Query, accountId: string, ended: readonly { payload: Payload }[]): Promise<void> {
    await notices.addAll(query, await noticesOf(directory, accountId, ended));
  }

  async function removeGrants(query: Query, { authorizations = {} }: Payload): Promise<void> {
    for (const [clientId, { grantId, persistsLogout }] of Object.entries(authorizations)) {
      if (grantId === undefined) continue;
      // The session was stored with what the client had registered then; the current metadata
      // decide.
      const isGivenUp = (await directory.findClient(clientId))?.metadata.revoke_tokens_on_logout === true;
      if (persistsLogout !== true || isGivenUp) await removeGrant(query, artifactId('Grant', grantId));
    }
  }

  async function endSession(query: Query, accountId: string, sessionId: string, by: ChangedBy): Promise<boolean> {
    const { rows } = await query<{ payload: Payload }>(SQL.end, [accountId, sessionId]);
    if (rows[0] === undefined) return false;
    const { payload } = rows[0];
    await markSessionEnded(query, sessionId, sessionSeconds);
    await notify(query, accountId, rows);
    await removeGrants(query, payload);
    await recordAudit(query, { type: 'session.ended', ...by, accountId, detail: { session: sessionId } });
    return true;
  }

  return {
    async list(accountId, { after, limit }) {
      const { rows } = await database.query<{ uid: string; payload: Payload; expires_at: Date }>(SQL.list, [
        accountId,
        after ?? null,
        limit + 1,
      ]);
      return rows.map(({ uid, payload, expires_at: expiresAt }) => ({
        id: uid,
        signedInAt: new Date(payload.loginTs * 1000),
        expiresAt,
        acr: payload.acr,
        amr: payload.amr ?? [],
        clientIds: Object.keys(payload.authorizations ?? {}),
      }));
    },

    end(accountId, sessionId, by) {
      return database.transaction((query) => endSession(query, accountId, sessionId, by));
    },

    async notifyAll(query, accountId) {
      const { rows } = await query<{ payload: Payload }>(SQL.all, [accountId]);
      await notify(query, accountId, rows);
    },
  };
}
