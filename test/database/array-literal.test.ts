// Array parameters are text that we write: what a caller sends must come out of PostgreSQL as it went in, and must not end its
// element, or the array, and begin something of its own.

import { afterAll, beforeAll, expect, test } from '@jest/globals';
import pg from 'pg';
import { arrayLiteral } from '../../src/database/array-literal.ts';
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

async function throughPostgres(type: string, literal: string): Promise<unknown[]> {
  const { rows } = await sql.query(`SELECT value FROM unnest($1::${type}[]) value`, [literal]);
  return rows.map(({ value }) => value);
}

test('texts come back as they were, whatever is in them', async () => {
  const texts = [
    ...['', ' ', ' a ', 'NULL', 'null', ',', '{}', '{a,b}', '}', '"', '""', '\\', '\\\\', '\\"', '","', '"},{"'],
    ...["'; DROP TABLE clients; --", 'a\nb\tc\r', 'Ünïcode 🔑', '\u007f\u2028', '\\x00', '$1', 'x'.repeat(100_000)],
  ];
  expect(await throughPostgres('text', arrayLiteral(texts))).toEqual(texts);
});

test('JSON comes back as it was', async () => {
  const values = [{ a: '"\\"{},' }, [], { nested: { text: "it's\n" } }, 'text'];
  expect(await throughPostgres('json', arrayLiteral(values.map((value) => JSON.stringify(value))))).toEqual(values);
});

test('so do bytes, numbers, nothing, and no element at all', async () => {
  const bytes = [Buffer.from([0, 1, 92, 34, 255]), null, Buffer.alloc(0)];
  expect(await throughPostgres('bytea', arrayLiteral(bytes))).toEqual(bytes);
  const numbers = [0, -1, 1_795_688_239, 1.5, null];
  expect(await throughPostgres('float8', arrayLiteral(numbers))).toEqual(numbers);
  expect(await throughPostgres('text', arrayLiteral([null, 'NULL']))).toEqual([null, 'NULL']);
  expect(await throughPostgres('text', arrayLiteral([]))).toEqual([]);
});
