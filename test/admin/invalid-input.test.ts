// Invalid input at every endpoint of the admin API, found through the OpenAPI document: a 400 that
// names the faulty member. An operator who gets a 500 cannot tell his mistake from ours; a stored
// invalid value would break what reads it later.

import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { startTestServer, type TestServer } from '../support/server.ts';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly $ref?: string;
}
interface Operation {
  readonly parameters: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: Schema } } };
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Record<string, Schema> };
}
interface Endpoint {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

let server: TestServer;
let endpoints: Endpoint[];
let schemas: Record<string, Schema>;
let ajv: Ajv2020;

beforeAll(async () => {
  server = await startTestServer();
  const document: Document = JSON.parse(await (await fetch(`${server.issuer}/admin/v1/openapi.json`)).text());
  schemas = document.components.schemas;
  endpoints = Object.entries(document.paths).flatMap(([path, operations]) =>
    Object.entries(operations).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  );
  ajv = new Ajv2020({ strict: false });
  (addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
});
afterAll(() => server.stop());

const VALUES = [
  null,
  true,
  -7,
  1.5,
  'a\u0007b',
  'x'.repeat(2100),
  '',
  {},
  { surprise: 1 },
  [],
  [{}],
  [null],
  [''],
  [7],
];
const BODIES = ['[]', 'null', '7', '"text"', '{', ''];

function validatorOf(schema: Schema): (value: unknown) => boolean {
  if (!JSON.stringify(schema).includes('$ref')) return ajv.compile(schema);
  const whole = JSON.stringify({ ...schema, $defs: schemas }).replaceAll('#/components/schemas/', '#/$defs/');
  return ajv.compile(JSON.parse(whole));
}

const bodyOf = ({ operation }: Endpoint) => operation.requestBody?.content['application/json'].schema;

/** Sends a request, which must be refused. @returns the pointers of its answer */
async function refusedMembers(method: string, path: string, body?: unknown): Promise<string[]> {
  const answer = await server.admin.request(method, path, body);
  const errors = (answer.body.errors ?? []) as { pointer: string; detail: string }[];
  const what = `${method} ${path.slice(0, 100)} ${JSON.stringify(body)?.slice(0, 100)}`;
  expect([what, answer.status]).toEqual([what, 400]);
  for (const { detail } of errors) expect([what, detail]).toEqual([what, expect.stringMatching(/^[^\n]{5,}$/)]);
  return errors.map(({ pointer }) => pointer);
}

function chunks<Item>(items: readonly Item[], size: number): Item[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size));
}

/** The path with a value for each parameter. */
const fill = (path: string, value = 'some-id') => path.replaceAll(/\{\w+\}/g, encodeURIComponent(value));

describe('a body', () => {
  test('with a value that the document does not allow is refused by the name of the member', async () => {
    let count = 0;
    for (const endpoint of endpoints) {
      const { method, path } = endpoint;
      const members = Object.entries(bodyOf(endpoint)?.properties ?? {}).map(([name, schema]) => {
        return { name, accepts: validatorOf(schema) };
      });
      // Several members at once, as far as the limit for bodies allows: each must be named.
      const bodies = VALUES.flatMap((value) => {
        const refusing = members.filter(({ accepts }) => !accepts(value)).map(({ name }) => [name, value]);
        return chunks(refusing, 20).map((entries) => Object.fromEntries(entries));
      });
      for (const body of bodies) {
        const named = new Set((await refusedMembers(method, fill(path), body)).map((pointer) => pointer.split('/')[1]));
        expect(Object.keys(body).filter((name) => !named.has(name))).toEqual([]);
        count += named.size;
      }
    }
    expect(count).toBeGreaterThan(500);
  });

  test('with an unknown member is refused by its name', async () => {
    for (const endpoint of endpoints.filter(bodyOf)) {
      const pointers = await refusedMembers(endpoint.method, fill(endpoint.path), { surprise: 1 });
      expect(pointers).toContain('/surprise');
    }
  });

  test.each(BODIES)('that is %j is refused', async (body) => {
    for (const { method, path } of endpoints.filter(bodyOf)) await refusedMembers(method, fill(path), body);
  });
});

describe('a query', () => {
  test('with an unknown parameter is refused by its name', async () => {
    for (const { method, path, operation } of endpoints.filter((endpoint) => bodyOf(endpoint) === undefined)) {
      const pointers = await refusedMembers(method, `${fill(path)}?surprise=1`);
      expect(pointers).toContain('?surprise');
      for (const { name } of operation.parameters.filter((parameter) => parameter.in === 'query')) {
        expect(await refusedMembers(method, `${fill(path)}?${name}=1&${name}=2`)).toContain(`?${name}`);
        expect(await refusedMembers(method, `${fill(path)}?${name}=${'9'.repeat(2000)}`)).toContain(`?${name}`);
      }
    }
  });

  test('with a cursor that no page has given out is refused', async () => {
    const lists = endpoints.filter(({ operation }) => operation.parameters.some(({ name }) => name === 'cursor'));
    expect(lists.length).toBeGreaterThan(3);
    const id = await server.admin.createUser('alice', 'a good long password');
    for (const { path } of lists) {
      for (const cursor of ['', '%00', 'AA', '===', '%F0%9F%98%80']) {
        const { status } = await server.admin.request('GET', `${fill(path, id)}?cursor=${cursor}`);
        // Sub-resources of what does not exist are not found, whatever the cursor is.
        expect([path, cursor, [400, 404].includes(status)]).toEqual([path, cursor, true]);
      }
    }
  });
});

test.each(['\0', 'a\u0007b', 'x'.repeat(3000)])(
  'an id in the path that cannot exist is refused by its name',
  async (id) => {
    for (const { method, path } of endpoints.filter(({ path: template }) => template.includes('{'))) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => `:${name}`);
      expect(await refusedMembers(method, fill(path, id), method === 'GET' ? undefined : {})).toEqual(
        expect.arrayContaining(names),
      );
    }
  },
);
