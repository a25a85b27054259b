// Rows as parameters: one array per column, in PostgreSQL's binary form, which it reads as it is. What `pg` makes of a JavaScript
// array is text, which costs both sides several times as much.

/** The types that our rows are made of, with their OIDs (pg_type.dat). */
const TYPES = { int4: 23, text: 25, bytea: 17, json: 114, jsonb: 3802, float8: 701 } as const;

export type ColumnType = keyof typeof TYPES;
/** json and jsonb are given as text, int4 and float8 as numbers */
export type ColumnValue = string | number | Buffer | null;

export interface RowsParameter {
  /** a sub-select of the rows for a FROM clause: `(SELECT …)`, without a name */
  readonly source: string;
  /** the number of the parameter after its own */
  readonly nextParameter: number;
  /** @param rows values in the order of the columns  @returns the parameters, one per column */
  encode(rows: readonly (readonly ColumnValue[])[]): Buffer[];
}

/** @param firstParameter the number of the parameter of the first column; the others follow it */
export function rowsParameter(columns: Readonly<Record<string, ColumnType>>, firstParameter = 1): RowsParameter {
  const entries = Object.entries(columns);
  // In the select list PostgreSQL takes the arrays apart side by side; in FROM it would store each of them first.
  const selected = entries.map(([name, type], index) => `unnest($${firstParameter + index}::${type}[]) AS ${name}`);
  return {
    nextParameter: firstParameter + entries.length,
    source: `(SELECT ${selected.join(', ')})`,
    encode: (rows) => entries.map(([, type], column) => encodeColumn(type, rows, column)),
  };
}

const LENGTH_BYTES = 4;
/** version of the binary form of jsonb, before its text (jsonb_recv) */
const JSONB_VERSION = 1;
/** UTF-16 code units take at most this many bytes in UTF-8 */
const UTF8_BYTES = 3;

/** Where columns are put together; what is done is copied out. */
let scratch = Buffer.allocUnsafe(64 * 1024);

/** array_recv: dimensions, whether there are nulls, type of the elements; length and lower bound; elements with their lengths. */
function encodeColumn(type: ColumnType, rows: readonly (readonly ColumnValue[])[], column: number): Buffer {
  const hasNull = rows.some((row) => row[column] === null);
  let end = writeInt32s(0, [rows.length === 0 ? 0 : 1, hasNull ? 1 : 0, TYPES[type], rows.length, 1]);
  if (rows.length === 0) end = 3 * LENGTH_BYTES;
  for (const row of rows) end = writeElement(type, row[column] as ColumnValue, end);
  return Buffer.from(scratch.subarray(0, end));
}

/** @returns where it ends */
function writeElement(type: ColumnType, value: ColumnValue, start: number): number {
  const content = start + LENGTH_BYTES;
  if (value === null) {
    makeRoomFor(content);
    return scratch.writeInt32BE(-1, start);
  }
  const end = writeContent(type, value, content);
  scratch.writeInt32BE(end - content, start);
  return end;
}

function writeContent(type: ColumnType, value: string | number | Buffer, start: number): number {
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

function writeInt32s(start: number, values: readonly number[]): number {
  return values.reduce((at, value) => scratch.writeInt32BE(value, at), start);
}

function makeRoomFor(end: number): void {
  if (end <= scratch.length) return;
  const larger = Buffer.allocUnsafe(2 * end);
  larger.set(scratch);
  scratch = larger;
}
