// Sends a request through both transports, and compares the answers. A header that the fast path
// does not know sends the second one to the engine.

import { type IncomingHttpHeaders, request } from 'node:http';
import { expect } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import Koa from 'koa';
import Provider from 'oidc-provider';
import type { TestClient } from './admin.ts';
import { WAIT_MS } from './patience.ts';
import type { TestServer } from './server.ts';

export interface Sent {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** undefined: none */
  readonly body?: string | Buffer;
  /** without a Content-Length */
  readonly isChunked?: boolean;
}

const FORM = 'application/x-www-form-urlencoded';
const TOKENS = ['access_token', 'refresh_token', 'id_token'];
const VOLATILE_HEADERS = ['date', 'x-request-id', 'content-length'];

/** Counts the requests that pass the engine's own pipeline, which is a Koa app. */
let engineRequests = 0;
const { handleRequest } = Koa.prototype as unknown as { handleRequest: (...args: unknown[]) => unknown };
Object.assign(Provider.prototype, {
  handleRequest(...args: unknown[]) {
    engineRequests++;
    return handleRequest.apply(this, args);
  },
});

/** How many requests have passed the engine's own pipeline. */
export function engineRequestCount(): number {
  return engineRequests;
}

export function basic(clientId: string, secret: string): Record<string, string> {
  return { authorization: `Basic ${Buffer.from(`${clientId}:${secret}`).toString('base64')}` };
}

/** A form with client_secret_basic, encoded as client libraries encode it. */
export function plain(client: TestClient, form: Record<string, string>, headers: Record<string, string> = {}): Sent {
  return {
    headers: { ...basic(client.clientId, client.clientSecret), ...headers },
    body: new URLSearchParams(form).toString(),
  };
}

interface Received {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

function send(url: string, { method = 'POST', headers = {}, body, isChunked = false }: Sent): Promise<Received> {
  return new Promise((resolve, reject) => {
    const length = isChunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': Buffer.byteLength(body ?? '') };
    const ofBody = body === undefined ? {} : { 'content-type': FORM, ...length };
    const outgoing = request(url, { method, agent: false, headers: { ...ofBody, ...headers } });
    outgoing.on('error', reject);
    outgoing.on('response', async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve({
        status: response.statusCode as number,
        headers: response.headers,
        text: Buffer.concat(chunks).toString(),
      });
    });
    outgoing.end(body);
  });
}

/** Without the members that differ between the answers to two equal requests. */
function comparable(value: unknown, name = ''): unknown {
  if (Array.isArray(value)) return value.map((entry) => comparable(entry));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, comparable(member, key)]));
  }
  if (name === 'request_id') return typeof value;
  const isToken = typeof value === 'string' && (TOKENS.includes(name) || (name === 'text' && value.startsWith('eyJ')));
  if (!isToken) return value;
  if (!value.includes('.')) return `${value.slice(0, 4)}… of ${value.length}`;
  const { jti, iat, exp, ...claims } = decodeJwt(value);
  expect(typeof jti).toBe(name === 'access_token' ? 'string' : 'undefined');
  expect(Math.abs(Date.now() / 1000 - (iat ?? 0))).toBeLessThan(WAIT_MS / 1000);
  // In tens of seconds. `iat` is when the request was judged, and a second may have begun before the token is signed. Signed user
  // information expires with its token, which is a little older for one of the two.
  const lifetime = Math.round(((exp ?? 0) - (iat ?? 0)) / 10);
  return { header: decodeProtectedHeader(value), claims, lifetime };
}

interface Observed {
  readonly answer: { status: number; headers: IncomingHttpHeaders; body: Record<string, unknown> };
  readonly events: unknown;
  readonly isOfEngine: boolean;
}

async function observe(server: TestServer, path: string, sent: Sent): Promise<Observed> {
  const before = engineRequests;
  const { status, headers, text } = await send(`${server.issuer}${path}`, sent);
  const isOfEngine = engineRequests > before;
  expect(headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/);
  const { rows } = await server.sql.query(
    'SELECT type, actor, client_id, account_id, detail FROM audit_events WHERE request_id = $1 ORDER BY id',
    [headers['x-request-id']],
  );
  for (const { detail } of rows) if ('jti' in detail) detail.jti = typeof detail.jti;
  const lasting = Object.fromEntries(Object.entries(headers).filter(([name]) => !VOLATILE_HEADERS.includes(name)));
  const body = /json/.test(headers['content-type'] ?? '') ? JSON.parse(text) : { text };
  return { answer: { status, headers: lasting, body }, events: rows, isOfEngine };
}

export interface BothWays {
  readonly status: number;
  readonly body: Record<string, unknown>;
  readonly events: unknown;
  /** answered without the engine's pipeline */
  readonly isFast: boolean;
}

/**
 * Expects the same answer and the same audit events from both.
 * @param sent a function if the request holds a value that can be used once
 */
export async function sameBothWays(
  server: TestServer,
  path: string,
  sent: Sent | (() => Promise<Sent>),
): Promise<BothWays> {
  const make = typeof sent === 'function' ? sent : async () => sent;
  const short = await observe(server, path, await make());
  const second = await make();
  const long = await observe(server, path, { ...second, headers: { ...second.headers, 'x-unknown': 'to the engine' } });
  expect(comparable(short.answer)).toEqual(comparable(long.answer));
  expect(short.events).toEqual(long.events);
  // What neither transport sees (a foreign Host, for example) is refused before both.
  if (short.isOfEngine) expect(long.isOfEngine).toBe(true);
  return { ...short.answer, events: short.events, isFast: !short.isOfEngine };
}
