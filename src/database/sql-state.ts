// What an error of PostgreSQL says about the statement, by the class of its SQLSTATE (PostgreSQL,
// appendix A).

/**
 * Cardinality, data exceptions, constraints, rollbacks (deadlocks), program limits: caused by what
 * is in the statement. It was rolled back, and the connection is still good.
 */
const CONTENT_ERROR = /^(21|22|23|40|54)[0-9A-Z]{3}$/;
/** Belongs to a class of rollbacks, but does not say that there was one. */
const STATEMENT_COMPLETION_UNKNOWN = '40003';

/**
 * False for errors of the database (08, 25, 53, 55, 57, 58, XX), lost connections and our own
 * deadlines.
 */
export function isContentError(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && state !== STATEMENT_COMPLETION_UNKNOWN && CONTENT_ERROR.test(state);
}

/** @returns undefined for an error without a code; errors of Node have codes of their own */
export function sqlStateOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
