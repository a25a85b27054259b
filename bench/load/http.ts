// Single requests, for the preparation of a server and for loops of dependent requests.

import { type Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import type { ClientLogin } from '../fixtures.ts';

export interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly setCookies: readonly string[];
  readonly body: string;
}

export interface RequestOptions {
  readonly agent?: Agent;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

const TIMEOUT_MS = 30_000;
export const FORM = { 'content-type': 'application/x-www-form-urlencoded' };

export function send(method: string, url: string, options: RequestOptions = {}): Promise<Answer> {
  const { body, agent } = options;
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { method, ...(agent && { agent }), headers: { ...options.headers, ...length }, timeout: TIMEOUT_MS },
      (incoming) => {
        text(incoming).then(
          (content) =>
            resolve({
              status: incoming.statusCode as number,
              location: incoming.headers.location,
              setCookies: incoming.headers['set-cookie'] ?? [],
              body: content,
            }),
          reject,
        );
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error(`${method} ${url}: no response in time`)));
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

/** @throws Error when the status is another one */
export async function expectJson(status: number, sending: Promise<Answer>): Promise<Record<string, unknown>> {
  const answer = await sending;
  if (answer.status !== status) throw new Error(`status ${answer.status} instead of ${status}: ${answer.body}`);
  return answer.body === '' ? {} : JSON.parse(answer.body);
}

/** RFC 6749 §2.3.1; generated ids and secrets need no encoding. A public client uses the form. */
export function clientHeaders(client: ClientLogin): Record<string, string> {
  const pair = Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64');
  return client.clientSecret === '' ? FORM : { ...FORM, authorization: `Basic ${pair}` };
}

export function clientForm(client: ClientLogin, fields: Record<string, string>): string {
  const own = client.clientSecret === '' ? { client_id: client.clientId } : {};
  return new URLSearchParams({ ...own, ...fields }).toString();
}

export function postForm(
  url: string,
  client: ClientLogin,
  fields: Record<string, string>,
  agent?: Agent,
): Promise<Answer> {
  return send('POST', url, {
    headers: clientHeaders(client),
    body: clientForm(client, fields),
    ...(agent && { agent }),
  });
}

/** Runs the work for 0 … count-1 with limited concurrency; the results are in order. */
export async function inParallel<T>(count: number, atOnce: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = new Array(count);
  let next = 0;
  const loop = async () => {
    for (let index = next++; index < count; index = next++) results[index] = await work(index);
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, count) }, loop));
  return results;
}
