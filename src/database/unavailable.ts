// Which errors say that the database cannot be used now: it is away, read-only, full, locked, out of
// connections, or does not answer in time. They become one error, which every endpoint answers with
// 503, and which says whether the request may be sent again.

import { AppError } from '../errors.ts';
import { sqlStateOf } from './sql-state.ts';

/**
 * SQLSTATE (PostgreSQL, appendix A): connections (08), read-only transactions (25006), who may
 * connect (28), a database that is not there (3D), resources (53), a lock that was not got in time
 * (55P03), cancelled statements and shutdown (57), input and output (58).
 */
const UNAVAILABLE = /^(08...|25006|28...|3D...|53...|55P03|57...|58...)$/;
/** The connection ended with these: what it was about to commit may have been committed. */
const LEAVES_OPEN = /^(08...|57P01|57P02)$/;
/** The message of a statement in a program that is wrong. */
const FAULTS_OF_OURS = ['TypeError', 'RangeError', 'ReferenceError', 'SyntaxError'];

const AGAIN_SECONDS = 1;

const UNAVAILABLE_DETAILS = {
  nothingDone: 'the database does not answer: try again in a moment',
  open: 'the database has not confirmed this: it may have been done',
} as const;

/**
 * Of an attempt to connect: also when PostgreSQL refused a parameter of the connection (22023),
 * which is no fault of the statement that waits for it.
 */
export function cannotConnect(cause: unknown): AppError {
  return nothingDone(cause);
}

/**
 * @param error of a statement
 * @param isOpen whether what was sent may have been committed
 * @returns the error as it is when it says something about the statement and not about the database
 */
export function asUnavailable(error: unknown, isOpen: boolean): unknown {
  if (error instanceof AppError || !isOutage(error)) return error;
  const state = sqlStateOf(error);
  const isRolledBack = state !== undefined && /^[0-9A-Z]{5}$/.test(state) && !LEAVES_OPEN.test(state);
  return isOpen && !isRolledBack
    ? new AppError('database_unavailable', UNAVAILABLE_DETAILS.open, { cause: error })
    : nothingDone(error);
}

function nothingDone(cause: unknown): AppError {
  const options = { cause, retryAfterSeconds: AGAIN_SECONDS };
  return new AppError('database_unavailable', UNAVAILABLE_DETAILS.nothingDone, options);
}

/** An error of `pg` or of a socket has no SQLSTATE: the connection was lost, or there is none. */
function isOutage(error: unknown): boolean {
  const { name, code } = error as { name?: unknown; code?: unknown };
  if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return UNAVAILABLE.test(code);
  return !FAULTS_OF_OURS.includes(String(name));
}

export function isUnavailable(error: unknown): boolean {
  return error instanceof AppError && error.code === 'database_unavailable';
}
