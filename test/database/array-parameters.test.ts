// Rows go to PostgreSQL in a binary form that we write: what a caller sends must come out as it
// went in, and must not end its value, or its row, and begin something of its own.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import {
  type ColumnType,
  type ColumnValue,
  rowsParameter,
  UnstorableValueError,
} from '../../src/database/array-parameters.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';

let testDatabase: TestDatabase;
let sql: pg.Pool;

beforeAll(async () => {
  testDatabase = await createTestDatabase();
  sql = new pg.Pool({ connectionString: testDatabase.connectionString, max: 1 });
});
afterAll(async () => {
  await sql.end();
  await testDatabase.drop();
});

async function throughPostgres(type: ColumnType, values: readonly ColumnValue[]): Promise<unknown[]> {
  const rows = rowsParameter('position', { value: type }, 2);
  const parameters = [0, ...rows.encode(values.map((value) => rows.finish([value])))];
  const result = await sql.query(
    `SELECT value FROM ${rows.source} r WHERE position >= $1 ORDER BY position`,
    parameters,
  );
  return result.rows.map(({ value }) => value);
}

test('texts come back as they were, whatever is in them', async () => {
  const texts = [
    ...['', ' ', ' a ', 'NULL', 'null', ',', '{}', '{a,b}', '}', '"', '""', '\\', '\\\\', '\\"', '","', '"},{"'],
    ...["'; DROP TABLE clients; --", 'a\nb\tc\r', 'Ünïcode 🔑', '\u007f\u2028', '\\x00', '$1', 'x'.repeat(100_000)],
  ];
  expect(await throughPostgres('text', texts)).toEqual(texts);
});

test('JSON comes back as it was, in both of its types', async () => {
  const values = [{ a: '"\\"{},' }, [], { nested: { text: "it's\n" } }, 'text', null];
  const texts = values.map((value) => value && JSON.stringify(value));
  expect(await throughPostgres('json', texts)).toEqual(values);
  expect(await throughPostgres('jsonb', texts)).toEqual(values);
});

test('so do bytes, numbers, and nothing at all', async () => {
  const bytes = [Buffer.from([0, 1, 92, 34, 255]), null, Buffer.alloc(0), Buffer.alloc(200_000, 7)];
  expect(await throughPostgres('bytea', bytes)).toEqual(bytes);
  const numbers = [0, -1, 1_795_688_239, 1.5, null];
  expect(await throughPostgres('float8', numbers)).toEqual(numbers);
  expect(await throughPostgres('text', [null, 'NULL', null])).toEqual([null, 'NULL', null]);
  expect(await throughPostgres('text', [])).toEqual([]);
});

// In a statement that many share, such a value would fail all of them.
test.each<[string, ColumnType, unknown, string]>([
  ['text with NUL', 'text', 'a\0b', 'NUL'],
  ['text with a lone surrogate, which would be stored as another text', 'text', 'a\ud800b', 'surrogate'],
  ['a number as text', 'text', 7, 'text'],
  ['an object as text', 'text', { length: 3 }, 'text'],
  ['JSON that is undefined', 'json', {}, 'text'],
  ['jsonb with NUL', 'jsonb', JSON.stringify({ a: '\\\0' }), 'NUL'],
  ['jsonb with a lone surrogate', 'jsonb', JSON.stringify(['\udfff']), 'surrogate'],
  ['text as bytes', 'bytea', 'abc', 'Buffer'],
  ['NaN', 'float8', Number.NaN, 'number'],
  ['an infinite instant', 'float8', Number.POSITIVE_INFINITY, 'number'],
  ['an instant as text', 'float8', '1', 'number'],
])('%s is refused before a row joins others, by the name of its column', (_name, type, value, reason) => {
  const rows = rowsParameter('position', { first: 'text', faulty: type });
  const finish = () => rows.finish(['fine', value as ColumnValue]);
  expect(finish).toThrow(UnstorableValueError);
  expect(finish).toThrow(new RegExp(`^faulty .*${reason}`));
});

test('what only looks like it is not refused: an escaped backslash before a u, NUL in json, a pair of surrogates', async () => {
  const values = [{ a: '\\u0000 \\\\ud800 \\\\\\u0000' }, ['🔑', '\u{1F600}']];
  const texts = values.map((value) => JSON.stringify(value));
  expect(await throughPostgres('jsonb', texts)).toEqual(values);
  expect(await throughPostgres('json', [JSON.stringify(['\0', '\ud800'])])).toEqual([['\0', '\ud800']]);
  expect(await throughPostgres('text', ['\u{10FFFF}\ufffd'])).toEqual(['\u{10FFFF}\ufffd']);
});

test('JSON that is none is left to PostgreSQL: only our own serialiser makes it', async () => {
  await expect(throughPostgres('json', ['{'])).rejects.toMatchObject({ code: '22P02' });
});

test('rows of several items keep the positions of their items', async () => {
  const rows = rowsParameter('item', { value: 'text' });
  const parameters = rows.encode(
    ['a', 'b', 'c'].map((value) => rows.finish([value])),
    [0, 0, 7],
  );
  expect((await sql.query(`SELECT item, value FROM ${rows.source} r`, parameters)).rows).toEqual([
    { item: 0, value: 'a' },
    { item: 0, value: 'b' },
    { item: 7, value: 'c' },
  ]);
});

test('rows whose parameters are made one after the other do not share their bytes', async () => {
  const rows = rowsParameter('position', { value: 'text' });
  const encode = (value: string) => rows.encode([rows.finish([value])]);
  const [first, second] = [encode('first'), encode('second, and longer')];
  for (const [parameters, value] of [
    [first, 'first'],
    [second, 'second, and longer'],
  ] as const) {
    expect((await sql.query(`SELECT value FROM ${rows.source} r`, parameters)).rows).toEqual([{ value }]);
  }
});
