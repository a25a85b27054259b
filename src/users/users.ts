// Users: the people who sign in on our pages. This folder owns their accounts, passwords,
// remembered consents and the login throttle; it provides User values and the functions below, each
// of which is one transaction with its audit event. Sessions, grants and tokens of a user belong to
// provider/, which removes them through `removeArtifacts`.

import { randomUUID } from 'node:crypto';
import { type AuditEventType, type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, assertVersion, type VersionCondition } from '../errors.ts';
import { type NotBefore, untilTokensAreNewer } from '../not-before.ts';
import type { PasswordHasher } from '../password-hash.ts';
import { preparePassword } from './password.ts';
import * as store from './store.ts';
import type { User, UserClaims } from './user.ts';
import { parseUsername, type Username } from './username.ts';
import { giveUsernameKeys } from './username-keys.ts';

export interface Users {
  create(input: NewUser, by: ChangedBy): Promise<User>;
  change(userId: string, change: UserChange, ifVersion: VersionCondition, by: ChangedBy): Promise<User>;
  setDisabled(userId: string, isDisabled: boolean, ifVersion: VersionCondition, by: ChangedBy): Promise<User>;
  revokeTokens(userId: string, by: ChangedBy): Promise<RevokedFromUser & NotBefore>;
}

export interface NewUser {
  readonly username: string;
  readonly password: string;
  readonly email: string | undefined;
  readonly claims: UserClaims;
}

/** A member that is undefined stays as it was. */
export interface UserChange {
  readonly username?: string | undefined;
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

async function create(deps: UsersDeps, input: NewUser, by: ChangedBy): Promise<User> {
  const username = checkedUsername(input.username);
  const passwordHash = await deps.passwords.hash(checkedPassword(input.password));
  return deps.database.transaction(async (query) => {
    await giveUsernameKeys(query);
    const user = await store.insertUser(query, { id: randomUUID(), ...input, username, passwordHash });
    if (user === undefined) throw new AppError('already_exists', `a user ${username.name} exists already`);
    await record(query, 'user.created', user.id, by, { username: user.username });
    return user;
  });
}

async function change(
  deps: UsersDeps,
  userId: string,
  input: UserChange,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<User> {
  const username = input.username === undefined ? undefined : checkedUsername(input.username);
  const password = input.password === undefined ? undefined : checkedPassword(input.password);
  const passwordHash = password === undefined ? undefined : await deps.passwords.hash(password);
  let secondsToWait = 0;
  const user = await locked(deps, userId, ifVersion, async (query, before) => {
    if (username !== undefined) await rename(query, userId, username);
    const changed = await store.updateUser(query, userId, {
      email: input.email === undefined ? before.email : (input.email ?? undefined),
      claims: input.claims ?? before.claims,
      passwordHash,
    });
    // An attacker who knew the old password may have a session or a refresh token (ASVS 5.0,
    // 7.4.3).
    if (passwordHash !== undefined) ({ secondsToWait } = await revokeEverything(deps, query, userId));
    await record(query, 'user.changed', userId, by, { members: Object.keys(input) });
    return changed;
  });
  await untilTokensAreNewer(secondsToWait);
  return user;
}

async function rename(query: Query, userId: string, username: Username): Promise<void> {
  await giveUsernameKeys(query);
  const isFree = await store.renameUser(query, userId, username);
  if (!isFree) throw new AppError('already_exists', `another user ${username.name} exists already`);
  await giveUsernameKeys(query);
}

/** What was issued before ends when the user is disabled: enabling the user brings nothing back. */
async function setDisabled(
  deps: UsersDeps,
  userId: string,
  isDisabled: boolean,
  ifVersion: VersionCondition,
  by: ChangedBy,
): Promise<User> {
  let secondsToWait = 0;
  const user = await locked(deps, userId, ifVersion, async (query) => {
    const changed = await store.setUserDisabled(query, userId, isDisabled);
    if (isDisabled) ({ secondsToWait } = await revokeEverything(deps, query, userId));
    await record(query, isDisabled ? 'user.disabled' : 'user.enabled', userId, by);
    return changed;
  });
  await untilTokensAreNewer(secondsToWait);
  return user;
}

async function revokeTokens(deps: UsersDeps, userId: string, by: ChangedBy) {
  const revoked = await locked(deps, userId, undefined, async (query) => {
    const { notBefore, secondsToWait, ...counts } = await revokeEverything(deps, query, userId);
    await store.removeConsentsOfUser(query, userId);
    await record(query, 'user.tokens_revoked', userId, by, counts);
    return { ...counts, notBefore, secondsToWait };
  });
  await untilTokensAreNewer(revoked.secondsToWait);
  return revoked;
}

/** Removes everything that was issued for a user; JWTs are void by tokens_not_before. */
async function revokeEverything(deps: UsersDeps, query: Query, userId: string) {
  const counts = await deps.removeArtifacts(query, userId);
  return { ...counts, ...(await store.setUserNotBefore(query, userId)) };
}

export function createUsers(deps: UsersDeps): Users {
  return {
    create: (...input) => create(deps, ...input),
    change: (...input) => change(deps, ...input),
    setDisabled: (...input) => setDisabled(deps, ...input),
    revokeTokens: (...input) => revokeTokens(deps, ...input),
  };
}

/** Runs `work` in one transaction that has locked the user and checked the version. */
function locked<T>(
  { database }: UsersDeps,
  userId: string,
  ifVersion: VersionCondition,
  work: (query: Query, before: User) => Promise<T>,
): Promise<T> {
  return database.longTransaction(async (query) => {
    const before = await store.lockUser(query, userId);
    assertVersion(ifVersion, before.version);
    return work(query, before);
  });
}

/** @throws AppError `validation_failed` */
function checkedUsername(text: string): Username {
  const parsed = parseUsername(text);
  if ('fault' in parsed) throw invalid('/username', parsed.fault);
  return parsed;
}

/** @throws AppError `validation_failed` */
function checkedPassword(text: string): string {
  const prepared = preparePassword(text);
  if ('fault' in prepared) throw invalid('/password', prepared.fault);
  return prepared.text;
}

function invalid(pointer: string, detail: string): AppError {
  return new AppError('validation_failed', `${pointer} ${detail}`, { faults: [{ pointer, detail }] });
}

function record(query: Query, type: AuditEventType, userId: string, by: ChangedBy, detail = {}): Promise<void> {
  return recordAudit(query, { type, actor: by.actor, accountId: userId, requestId: by.requestId, detail });
}
