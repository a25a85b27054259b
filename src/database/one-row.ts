// The row of a statement that always returns one: an aggregate, or a change of a row that the
// transaction has locked.

/** @throws Error when there is no row: the caller does not hold what it relies on */
export function oneRow<Row>({ rows }: { readonly rows: readonly Row[] }): Row {
  const [row] = rows;
  if (row === undefined) throw new Error('a statement that must return a row returned none');
  return row;
}
