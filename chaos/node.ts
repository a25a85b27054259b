// One node: `node src/start.mjs` with its workers, and the requests that are sent to it. Each request
// ends, and how it ended is judged here: an answer of a documented kind, or none for a known reason.

import { Agent, request } from 'node:http';
import type { TestClient } from '../test/support/admin.ts';
import { type LanyardProcess, type ProcessOptions, serverProcessesBelow, start } from '../test/support/process.ts';
import type { CuttableProxy } from '../test/support/proxy.ts';
import type { Ledger } from './ledger.ts';

/** Several deadlines of the database one after the other, and the longest pause of a node before. */
const BOUND_MS = 30_000;
const UNANSWERED = 0;
const MOST_ERRORS = 20;

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

type Way = Pick<Ask, 'isNewConnection' | 'patienceMs'>;

export interface Node {
  readonly name: string;
  readonly proxy: CuttableProxy;
  /** has a process that runs */
  isUp(): boolean;
  isPaused(): boolean;
  /** Like fetch, for an address of the issuer; redirects are not followed. */
  fetch(url: URL, init: RequestInit): Promise<Response>;
  ask(ask: Ask): Promise<Answer>;
  start(): Promise<void>;
  workers(): Promise<number[]>;
  /** SIGSTOP of all its processes, or of these. */
  pause(pids?: readonly number[]): Promise<void>;
  resume(): void;
  /** kill -9 of all its processes, or of the first one, whose end the workers notice. */
  kill(which: 'all' | 'primary'): Promise<void>;
  killWorker(pid: number): void;
  /** The newest lines of the log, of level error. */
  errors(): string[];
  /** Requests that have no answer from now on until the returned function is called are explained. */
  excuse(): () => void;
  stop(): Promise<void>;
}

export interface NodeDeps {
  readonly name: string;
  readonly issuer: string;
  readonly port: number;
  readonly proxy: CuttableProxy;
  readonly options: ProcessOptions;
  readonly ledger: Ledger;
}

export function createNode({ name, issuer, port, proxy, options, ledger }: NodeDeps): Node {
  const { host } = new URL(issuer);
  // The connections take turns, and with them the workers.
  const agent = new Agent({ keepAlive: true, scheduling: 'fifo', maxSockets: 64 });
  let running: LanyardProcess | undefined;
  let paused: readonly number[] = [];
  const log: LanyardProcess[] = [];
  let excuses = 0;
  let lastExcusedAt = 0;

  function excuse(): () => void {
    excuses++;
    return () => {
      excuses--;
      lastExcusedAt = performance.now();
    };
  }

  function judge(what: string, startedAt: number, status: number): void {
    ledger.noteStatus(status === UNANSWERED ? 'no answer' : String(status));
    if (status === UNANSWERED) {
      if (excuses === 0 && lastExcusedAt < startedAt) ledger.violate('failed', `${what}: no answer from ${name}`);
    } else if (status >= 500 && status !== 503) {
      ledger.violate('failed', `${what}: ${status} from ${name}`);
    }
  }

  function send(
    url: URL,
    init: RequestInit,
    { isNewConnection = false, patienceMs = BOUND_MS }: Way,
  ): Promise<Response> {
    const startedAt = performance.now();
    const method = init.method ?? 'GET';
    const what = `${method} ${url.pathname}`;
    const limit = AbortSignal.timeout(patienceMs);
    return new Promise((resolve, reject) => {
      function fail(error: Error): void {
        const hasGivenUp = limit.aborted && patienceMs < BOUND_MS;
        if (!hasGivenUp) judge(what, startedAt, UNANSWERED);
        reject(error);
      }
      const headers = { ...(init.headers as Record<string, string>), host };
      const way = { host: '127.0.0.1', port, path: url.pathname + url.search };
      const sent = request(
        { ...way, agent: isNewConnection ? false : agent, signal: limit, method, headers },
        async (incoming) => {
          const chunks: Buffer[] = [];
          try {
            for await (const chunk of incoming) chunks.push(chunk);
          } catch (error) {
            fail(error as Error);
            return;
          }
          const status = incoming.statusCode as number;
          judge(what, startedAt, status);
          const received = new Headers();
          for (const [key, values = []] of Object.entries(incoming.headersDistinct)) {
            for (const value of values) received.append(key, value);
          }
          const content = chunks.length === 0 ? null : Buffer.concat(chunks).toString();
          resolve(new Response(content, { status, headers: received }));
        },
      );
      sent.on('error', fail);
      sent.end(init.body === undefined || init.body === null ? '' : String(init.body));
    });
  }

  async function pids(): Promise<number[]> {
    return running === undefined ? [] : [running.pid, ...(await serverProcessesBelow(running.pid))];
  }

  function resume(): void {
    for (const pid of paused) signal(pid, 'SIGCONT');
    paused = [];
  }

  return {
    name,
    proxy,
    isUp: () => running !== undefined,
    isPaused: () => paused.length > 0,
    fetch: (url, init) => send(url, init, {}),
    async ask(ask) {
      const { url, init } = toRequest(issuer, ask);
      try {
        return await toAnswer(await send(url, init, ask));
      } catch {
        return { status: UNANSWERED, requestId: '', retryAfter: null, body: {} };
      }
    },
    async start() {
      const lanyard = await start(options);
      running = lanyard;
      log.push(lanyard);
      void lanyard.exited.then(({ code, signal: by }) => {
        if (running === lanyard)
          ledger.violate('failed', `${name} has ended by itself (${by ?? code}): ${lanyard.stderr}`);
      });
    },
    workers: async () => (running === undefined ? [] : serverProcessesBelow(running.pid)),
    async pause(some) {
      paused = some ?? (await pids());
      for (const pid of paused) signal(pid, 'SIGSTOP');
    },
    resume,
    async kill(which) {
      const { pid: primary, exited } = running as LanyardProcess;
      const all = which === 'all' ? await pids() : [primary];
      running = undefined;
      for (const pid of all) signal(pid, 'SIGKILL');
      await exited;
    },
    killWorker: (pid) => signal(pid, 'SIGKILL'),
    errors: () => log.flatMap((run) => run.stdout.trimEnd().split('\n')).slice(-MOST_ERRORS),
    excuse,
    async stop() {
      resume();
      agent.destroy();
      const lanyard = running;
      running = undefined;
      lanyard?.kill('SIGTERM');
      await lanyard?.exited;
    },
  };
}

/** A process may have ended by itself meanwhile. */
function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
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
