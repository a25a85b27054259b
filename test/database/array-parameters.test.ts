// Rows go to PostgreSQL in a binary form that we write: what a caller sends must come out as it went in, and must not end its
// value, or its row, and begin something of its own.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { type ColumnType, type ColumnValue, rowsParameter } from '../../src/database/array-parameters.ts';
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
  const rows = rowsParameter({ position: 'int4', value: type }, 2);
  const parameters = [0, ...rows.encode(values.map((value, position) => [position, value]))];
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
  expect(await throughPostgres('int4', [0, -1, null, 2 ** 31 - 1])).toEqual([0, -1, null, 2 ** 31 - 1]);
  expect(await throughPostgres('text', [null, 'NULL', null])).toEqual([null, 'NULL', null]);
  expect(await throughPostgres('text', [])).toEqual([]);
});

test('what PostgreSQL cannot store is refused by it, and what does not fit into a type by us', async () => {
  await expect(throughPostgres('text', ['a\0b'])).rejects.toMatchObject({ code: '22021' });
  await expect(throughPostgres('json', ['{'])).rejects.toMatchObject({ code: '22P02' });
  await expect(throughPostgres('int4', [2 ** 31])).rejects.toThrow('out of range');
  expect(await throughPostgres('text', ['\ud800'])).toEqual(['\ufffd']);
});

test('rows whose parameters are made one after the other do not share their bytes', async () => {
  const rows = rowsParameter({ value: 'text' });
  const [first, second] = [rows.encode([['first']]), rows.encode([['second, and longer']])];
  for (const [parameters, value] of [
    [first, 'first'],
    [second, 'second, and longer'],
  ] as const) {
    expect((await sql.query(`SELECT value FROM ${rows.source} r`, parameters)).rows).toEqual([{ value }]);
  }
});
