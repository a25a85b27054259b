// What may be done to users. Each function is one transaction with its audit event inside.

import { randomUUID } from 'node:crypto';
import { type AuditEventType, type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, assertVersion, notFound } from '../errors.ts';
import { notBeforeForNow, untilTokensAreNewer } from '../not-before.ts';
import type { PasswordHasher } from '../password-hash.ts';
import * as store from './store.ts';
import type { User, UserClaims } from './user.ts';

export interface Users {
  create(input: NewUser, by: ChangedBy): Promise<User>;
  change(userId: string, change: UserChange, ifVersion: number | undefined, by: ChangedBy): Promise<User>;
  setDisabled(userId: string, isDisabled: boolean, ifVersion: number | undefined, by: ChangedBy): Promise<User>;
  revokeTokens(userId: string, by: ChangedBy): Promise<RevokedFromUser & { notBefore: Date }>;
}

export interface NewUser {
  readonly username: string;
  readonly password: string;
  readonly email: string | undefined;
  readonly claims: UserClaims;
}

/** A member that is undefined stays as it was. */
export interface UserChange {
  readonly password?: string | undefined;
  readonly email?: string | null | undefined;
  /** replaces all claims */
  readonly claims?: UserClaims | undefined;
}

export interface RevokedFromUser {
  readonly accessTokens: number;
  readonly refreshTokens: number;
  readonly authorizationCodes: number;
  readonly grants: number;
  readonly sessions: number;
}

export interface UsersDeps {
  readonly database: Database;
  readonly passwords: PasswordHasher;
  /** removes what the engine has stored for a user, sessions included */
  readonly removeArtifacts: (query: Query, accountId: string) => Promise<RevokedFromUser>;
}

export function createUsers(deps: UsersDeps): Users {
  const { database, passwords } = deps;

  function changing<T>(
    userId: string,
    ifVersion: number | undefined,
    work: (query: Query, before: User) => Promise<T>,
  ): Promise<T> {
    return database.transaction(async (query) => {
      const before = await store.lockUser(query, userId);
      if (before === undefined) throw notFound(`user ${userId}`);
      assertVersion(ifVersion, before.version);
      return work(query, before);
    });
  }

  function record(query: Query, type: AuditEventType, userId: string, by: ChangedBy, detail = {}): Promise<void> {
    return recordAudit(query, { type, actor: by.actor, accountId: userId, requestId: by.requestId, detail });
  }

  /** Ends everything that was given to a user; JWTs by the watermark. */
  async function revokeEverything(query: Query, userId: string): Promise<RevokedFromUser & { notBefore: Date }> {
    const notBefore = notBeforeForNow();
    await store.setUserNotBefore(query, userId, notBefore);
    const counts = await deps.removeArtifacts(query, userId);
    return { ...counts, notBefore };
  }

  return {
    async create(input, by) {
      const passwordHash = await passwords.hash(input.password);
      return database.transaction(async (query) => {
        const user = await store.insertUser(query, { id: randomUUID(), ...input, passwordHash });
        if (user === undefined) throw new AppError('already_exists', `a user ${input.username} exists already`);
        await record(query, 'user.created', user.id, by, { username: user.username });
        return user;
      });
    },

    async change(userId, change, ifVersion, by) {
      const passwordHash = change.password === undefined ? undefined : await passwords.hash(change.password);
      let notBefore: Date | undefined;
      const user = await changing(userId, ifVersion, async (query, before) => {
        const changed = await store.updateUser(query, userId, {
          email: change.email === undefined ? before.email : (change.email ?? undefined),
          claims: change.claims ?? before.claims,
          passwordHash,
        });
        // Whoever knew the old password may hold a session or a refresh token: they end with it (ASVS 5.0, 7.4.3).
        if (passwordHash !== undefined) ({ notBefore } = await revokeEverything(query, userId));
        await record(query, 'user.changed', userId, by, { members: Object.keys(change) });
        return changed;
      });
      if (notBefore !== undefined) await untilTokensAreNewer(notBefore);
      return user;
    },

    setDisabled(userId, isDisabled, ifVersion, by) {
      return changing(userId, ifVersion, async (query) => {
        const user = await store.setUserDisabled(query, userId, isDisabled);
        await record(query, isDisabled ? 'user.disabled' : 'user.enabled', userId, by);
        return user;
      });
    },

    async revokeTokens(userId, by) {
      const revoked = await changing(userId, undefined, async (query) => {
        const counts = await revokeEverything(query, userId);
        await store.removeConsentsOfUser(query, userId);
        const { notBefore: _, ...numbers } = counts;
        await record(query, 'user.tokens_revoked', userId, by, numbers);
        return counts;
      });
      await untilTokensAreNewer(revoked.notBefore);
      return revoked;
    },
  };
}
