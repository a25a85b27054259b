// "Not before" instants: everything issued to a client or a user before that instant is void. Both
// sides of the comparison come from the clock of the database: the instant, and `iat`, which is when
// the request was judged (provider/http/current-memory). `iat` counts whole seconds (RFC 7519 §2), so
// the instant is a whole second too, the next one, and what sets it answers when it has passed. Then a
// token that is requested after the answer is always newer, and one from before is always older.

import { setTimeout as sleep } from 'node:timers/promises';

/** In SQL. The next second, but none that begins before the statement is committed. */
export const NEXT_NOT_BEFORE = `date_trunc('second', clock_timestamp() + interval '250 milliseconds') + interval '1 second'`;

/** In SQL, for RETURNING: the columns of `NotBeforeRow`. */
export const RETURNED_NOT_BEFORE = `tokens_not_before,
  date_part('epoch', tokens_not_before - clock_timestamp()) AS seconds_to_wait`;

export interface NotBeforeRow {
  readonly tokens_not_before: Date;
  readonly seconds_to_wait: number;
}

export interface NotBefore {
  readonly notBefore: Date;
  readonly secondsToWait: number;
}

export function toNotBefore(row: NotBeforeRow): NotBefore {
  return { notBefore: row.tokens_not_before, secondsToWait: row.seconds_to_wait };
}

/** Waits until the instant has passed: 1.25 seconds at most. A timer may be a millisecond early. */
export async function untilTokensAreNewer(secondsToWait: number): Promise<void> {
  await sleep(Math.max(0, secondsToWait * 1000 + 2));
}
