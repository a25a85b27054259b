// Signing in: throttle, password, audit event. The result is only right or wrong: an unknown user,
// a disabled one and a wrong password cannot be told apart, neither by the answer nor by the time
// it takes.

import { type AuditEvent, type AuditEventType, recordAudit } from '../audit/audit.ts';
import type { CountedEvents } from '../audit/counted-events.ts';
import type { Query } from '../database/database.ts';
import type { PasswordCheck } from '../users/password.ts';
import { findUserForLogin, replacePasswordHash } from '../users/store.ts';
import type { LoginThrottle } from '../users/throttle.ts';
import { usernameKey } from '../users/username.ts';

export interface LoginAttempt {
  readonly username: string;
  readonly password: string;
  readonly address: string;
  readonly clientId: string;
  readonly requestId: string;
}

export type LoginResult =
  | { readonly outcome: 'signed in'; readonly accountId: string }
  | { readonly outcome: 'wrong' }
  | { readonly outcome: 'throttled'; readonly retryAfterSeconds: number };

export interface LoginDeps {
  readonly query: Query;
  readonly passwordCheck: PasswordCheck;
  readonly throttle: LoginThrottle;
  readonly countedEvents: Pick<CountedEvents, 'count'>;
  /** stores the event with the sign-in that it tells of */
  readonly record: (event: AuditEvent) => void;
}

export async function signIn(deps: LoginDeps, attempt: LoginAttempt): Promise<LoginResult> {
  const { password, address } = attempt;
  // Phones add a blank.
  const typed = attempt.username.trim();
  const key = usernameKey(typed);
  const user = await findUserForLogin(deps.query, typed, key);
  // Those who share a key do not share the attempts: one that signs in would give them back to who
  // guesses at another.
  const name = user?.sharesKey === true ? user.username : (key ?? typed);
  const throttled = await deps.throttle.attempt(name, address);
  if (throttled !== undefined) {
    deps.countedEvents.count(throttled.key, eventOf('login.throttled', attempt));
    return { outcome: 'throttled', retryAfterSeconds: throttled.retryAfterSeconds };
  }
  const { isRight, betterHash } = await deps.passwordCheck.check(user?.passwordHash, password);
  if (!isRight || user === undefined || user.isDisabled) {
    await recordAudit(deps.query, eventOf('login.failed', attempt, user?.id));
    return { outcome: 'wrong' };
  }
  if (betterHash !== undefined) await replacePasswordHash(deps.query, user.id, user.passwordHash, betterHash);
  await deps.throttle.succeeded(name, address);
  deps.record(eventOf('login.succeeded', attempt, user.id));
  return { outcome: 'signed in', accountId: user.id };
}

/** Never the text that was typed: people type passwords into the wrong field. */
function eventOf(type: AuditEventType, attempt: LoginAttempt, accountId?: string): AuditEvent {
  return {
    type,
    actor: accountId === undefined ? 'system' : `user:${accountId}`,
    accountId,
    clientId: attempt.clientId,
    requestId: attempt.requestId,
    detail: { address: attempt.address },
  };
}
