// Rows as parameters: one array per column, in PostgreSQL's binary form, which it reads as it is.
// What `pg` makes of a JavaScript array is text, which costs both sides several times as much.
//
// Rows of several callers share a statement. A caller finishes its own row first (`finish`):
// everything that can be wrong with a value is found there, where it concerns that caller only.
// Finished rows can always be encoded.

/** The types that our rows are made of, with their OIDs (pg_type.dat). */
const TYPES = { text: 25, bytea: 17, json: 114, jsonb: 3802, float8: 701, int4: 23 } as const;

/** int4 is the type of positions only. */
export type ColumnType = Exclude<keyof typeof TYPES, 'int4'>;
/** json and jsonb are given as text */
export type ColumnValue = string | number | Buffer | null;

declare const finished: unique symbol;
/** A row whose values PostgreSQL accepts. */
export type FinishedRow = readonly ColumnValue[] & { readonly [finished]: true };

/** A value that its column cannot hold. The message names the column, never the value. */
export class UnstorableValueError extends Error {
  readonly column: string;

  constructor(column: string, problem: string) {
    super(`${column} ${problem}`);
    this.name = 'UnstorableValueError';
    this.column = column;
  }
}

export interface RowsParameter {
  /** a sub-select of the rows for a FROM clause: `(SELECT …)`, without a name */
  readonly source: string;
  /** the number of the parameter after its own */
  readonly nextParameter: number;
  /**
   * @param values in the order of the columns, without the position
   * @throws UnstorableValueError
   */
  finish(values: readonly ColumnValue[]): FinishedRow;
  /**
   * @param positions of the items that the rows belong to; undefined: those of the rows
   * @returns the parameters, one per column
   */
  encode(rows: readonly FinishedRow[], positions?: readonly number[]): Buffer[];
}

/**
 * @param position the name of the first column: the position of the item that a row belongs to
 * @param firstParameter the number of the parameter of the position; the columns follow it
 */
export function rowsParameter(
  position: string,
  columns: Readonly<Record<string, ColumnType>>,
  firstParameter = 1,
): RowsParameter {
  const names = Object.keys(columns);
  const types = Object.values(columns);
  const all = [[position, 'int4'], ...Object.entries(columns)];
  // In the select list PostgreSQL takes the arrays apart side by side; in FROM it stores them first.
  const selected = all.map(([name, type], index) => `unnest($${firstParameter + index}::${type}[]) AS ${name}`);
  return {
    nextParameter: firstParameter + all.length,
    source: `(SELECT ${selected.join(', ')})`,
    finish(values) {
      for (let column = 0; column < types.length; column++) {
        const problem = problemOf(types[column] as ColumnType, values[column]);
        if (problem !== undefined) throw new UnstorableValueError(names[column] as string, problem);
      }
      return values as FinishedRow;
    },
    encode: (rows, positions) => [
      encodePositions(positions ?? rows.map((_, position) => position)),
      ...types.map((type, column) => encodeColumn(type, rows, column)),
    ],
  };
}

/** @returns why a column of this type cannot hold the value */
function problemOf(type: ColumnType, value: ColumnValue | undefined): string | undefined {
  if (value === null) return undefined;
  if (type === 'bytea') return Buffer.isBuffer(value) ? undefined : 'is not a Buffer';
  if (type === 'float8') return Number.isFinite(value) ? undefined : 'is not a finite number';
  if (typeof value !== 'string') return 'is not a text';
  if (type === 'text') return problemOfText(value);
  // JSON.stringify escapes NUL and lone surrogates: json keeps the escapes as they are, jsonb cannot.
  return type === 'jsonb' && value.includes('\\u') && UNSTORABLE_ESCAPE.test(value)
    ? 'contains NUL or a lone surrogate'
    : undefined;
}

/** An escape in JSON, not an escaped backslash before the letter u. */
const UNSTORABLE_ESCAPE = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i;

function problemOfText(text: string): string | undefined {
  if (text.includes('\0')) return 'contains NUL';
  // It would be stored as U+FFFD, as another text than the caller compares with.
  return text.isWellFormed() ? undefined : 'contains a lone surrogate';
}

const LENGTH_BYTES = 4;
/** version of the binary form of jsonb, before its text (jsonb_recv) */
const JSONB_VERSION = 1;
/** UTF-16 code units take at most this many bytes in UTF-8 */
const UTF8_BYTES = 3;

/** Where columns are put together; the result is copied out. */
let scratch = Buffer.allocUnsafe(64 * 1024);

function encodeColumn(type: ColumnType, rows: readonly FinishedRow[], column: number): Buffer {
  let hasNull = false;
  let end = headerBytes(rows.length);
  for (const row of rows) {
    const value = row[column] ?? null;
    hasNull ||= value === null;
    end = writeElement(type, value, end);
  }
  return finishArray(type, rows.length, hasNull, end);
}

function encodePositions(positions: readonly number[]): Buffer {
  let end = headerBytes(positions.length);
  for (const position of positions) end = writeElement('int4', position, end);
  return finishArray('int4', positions.length, false, end);
}

function headerBytes(length: number): number {
  return (length === 0 ? 3 : 5) * LENGTH_BYTES;
}

/** array_recv: dimensions, has nulls, type of the elements; length, lower bound; the elements. */
function finishArray(type: keyof typeof TYPES, length: number, hasNull: boolean, end: number): Buffer {
  const header = [length === 0 ? 0 : 1, hasNull ? 1 : 0, TYPES[type], length, 1];
  header.slice(0, headerBytes(length) / LENGTH_BYTES).reduce((at, value) => scratch.writeInt32BE(value, at), 0);
  return Buffer.from(scratch.subarray(0, end));
}

/** @returns where it ends */
function writeElement(type: keyof typeof TYPES, value: string | number | Buffer | null, start: number): number {
  const content = start + LENGTH_BYTES;
  if (value === null) {
    makeRoomFor(content);
    return scratch.writeInt32BE(-1, start);
  }
  const end = writeContent(type, value, content);
  scratch.writeInt32BE(end - content, start);
  return end;
}

function writeContent(type: keyof typeof TYPES, value: string | number | Buffer, start: number): number {
  if (typeof value === 'number') {
    makeRoomFor(start + 8);
    return type === 'int4' ? scratch.writeInt32BE(value, start) : scratch.writeDoubleBE(value, start);
  }
  if (typeof value !== 'string') {
    makeRoomFor(start + value.length);
    scratch.set(value, start);
    return start + value.length;
  }
  makeRoomFor(start + 1 + value.length * UTF8_BYTES);
  const text = type === 'jsonb' ? scratch.writeUInt8(JSONB_VERSION, start) : start;
  return text + scratch.write(value, text, 'utf8');
}

function makeRoomFor(end: number): void {
  if (end <= scratch.length) return;
  const larger = Buffer.allocUnsafe(2 * end);
  larger.set(scratch);
  scratch = larger;
}
