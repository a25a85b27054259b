// Requests to one node. Each of them ends, and how it ended is judged here: with an answer of a documented
// kind, or without one for a known reason.

import { Agent, type IncomingMessage, request } from 'node:http';
import { buffer } from 'node:stream/consumers';
import type { TestClient } from '../test/support/admin.ts';
import type { Ledger } from './ledger.ts';

/** Several deadlines of the database one after the other, and the longest pause of a node before. */
const BOUND_MS = 30_000;
const UNANSWERED = 0;

export interface Answer {
  /** 0: none */
  readonly status: number;
  readonly requestId: string;
  readonly retryAfter: string | null;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Ask {
  readonly method?: string;
  readonly path: string;
  readonly client?: TestClient;
  readonly form?: Readonly<Record<string, string>>;
  readonly bearer?: string;
  readonly json?: unknown;
  /** a connection of its own, which may wait in the listen queue; default: one that is open */
  readonly isNewConnection?: boolean;
  /** The asker gives up then, which is not the fault of the node; default: BOUND_MS, which is. */
  readonly patienceMs?: number;
}

export interface Sender {
  /** Like fetch, for an address of the issuer; redirects are not followed. */
  fetch(url: URL, init: RequestInit): Promise<Response>;
  ask(ask: Ask): Promise<Answer>;
  /** Requests that have no answer from now on until the returned function is called are explained. */
  excuse(): () => void;
  close(): void;
}

export interface SenderDeps {
  /** of the node */
  readonly name: string;
  readonly issuer: string;
  readonly port: number;
  readonly ledger: Ledger;
}

export function createSender({ name, issuer, port, ledger }: SenderDeps): Sender {
  const { host } = new URL(issuer);
  // The connections take turns, and with them the workers.
  const agent = new Agent({ keepAlive: true, scheduling: 'fifo', maxSockets: 64 });
  let excuses = 0;
  let lastExcusedAt = 0;

  function judge(what: string, startedAt: number, status: number): void {
    ledger.noteStatus(status === UNANSWERED ? 'no answer' : String(status));
    const isExcused = excuses > 0 || lastExcusedAt >= startedAt;
    if (status === UNANSWERED && !isExcused) ledger.violate('failed', `${what}: no answer from ${name}`);
    if (status >= 500 && status !== 503) ledger.violate('failed', `${what}: ${status} from ${name}`);
  }

  async function send(
    url: URL,
    init: RequestInit,
    way: Pick<Ask, 'isNewConnection' | 'patienceMs'>,
  ): Promise<Response> {
    const { isNewConnection = false, patienceMs = BOUND_MS } = way;
    const startedAt = performance.now();
    const what = `${init.method ?? 'GET'} ${url.pathname}`;
    const signal = AbortSignal.timeout(patienceMs);
    const options = {
      host: '127.0.0.1',
      port,
      method: init.method ?? 'GET',
      path: url.pathname + url.search,
      headers: { ...(init.headers as Record<string, string>), host },
      agent: isNewConnection ? false : agent,
      signal,
    };
    try {
      const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
      request(options, resolve)
        .on('error', reject)
        .end(init.body === undefined || init.body === null ? '' : String(init.body));
      const response = await toResponse(await promise);
      judge(what, startedAt, response.status);
      return response;
    } catch (error) {
      const hasGivenUp = signal.aborted && patienceMs < BOUND_MS;
      if (!hasGivenUp) judge(what, startedAt, UNANSWERED);
      throw error;
    }
  }

  return {
    fetch: (url, init) => send(url, init, {}),
    async ask(ask) {
      const { url, init } = toRequest(issuer, ask);
      try {
        return await toAnswer(await send(url, init, ask));
      } catch {
        return { status: UNANSWERED, requestId: '', retryAfter: null, body: {} };
      }
    },
    excuse() {
      excuses++;
      return () => {
        excuses--;
        lastExcusedAt = performance.now();
      };
    },
    close() {
      excuses++;
      agent.destroy();
    },
  };
}

async function toResponse(incoming: IncomingMessage): Promise<Response> {
  const content = await buffer(incoming);
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(incoming.headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  const status = incoming.statusCode as number;
  return new Response(content.length === 0 ? null : content.toString(), { status, headers });
}

function toRequest(issuer: string, { method, path, client, form, bearer, json }: Ask): { url: URL; init: RequestInit } {
  const headers: Record<string, string> = {};
  const url = new URL(path, issuer);
  if (bearer !== undefined) headers.authorization = `Bearer ${bearer}`;
  if (client !== undefined && client.clientSecret !== '') {
    headers.authorization = `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`;
  }
  if (json !== undefined) {
    headers['content-type'] = 'application/json';
    return { url, init: { method: method ?? 'POST', headers, body: JSON.stringify(json) } };
  }
  if (form === undefined) return { url, init: { method: method ?? 'GET', headers } };
  headers['content-type'] = 'application/x-www-form-urlencoded';
  const isPublic = client?.clientSecret === '';
  const body = new URLSearchParams(isPublic ? { ...form, client_id: client.clientId } : form).toString();
  return { url, init: { method: 'POST', headers, body } };
}

async function toAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    requestId: response.headers.get('x-request-id') ?? '',
    retryAfter: response.headers.get('retry-after'),
    body: isJson && text !== '' ? JSON.parse(text) : {},
  };
}
