// What one request does: its answer, the rows that it writes, its log lines and the metrics that it
// counts, all without ids and times, so that the traces of two equal requests are equal.

import { decodeJwt, decodeProtectedHeader } from 'jose';
import { engineRequestCount } from '../both-ways.ts';
import { until } from '../patience.ts';
import type { TestServer } from '../server.ts';
import { isIncomplete, type RawRequest, type RawResponse, sendRaw } from './raw-http.ts';

export interface Trace {
  /** undefined: the connection was closed */
  readonly status: number | undefined;
  readonly headers: readonly string[];
  readonly body: unknown;
  readonly rows: readonly unknown[];
  readonly log: readonly unknown[];
  /** by series, by how much it grew */
  readonly metrics: Readonly<Record<string, number>>;
}

export interface Traced {
  readonly trace: Trace;
  readonly isOfEngine: boolean;
}

/** The text of the values that differ between installations, e.g. a client id, and what is written instead. */
export type Names = ReadonlyMap<string, string>;

const OWN_TABLE = 'fuzz_changes';
const VOLATILE_HEADERS = ['date', 'x-request-id', 'content-length'];
const COUNTERS = /^(lanyard_(?:refusals|tokens_issued|tokens_revoked|introspections|token_replays)_total\S*) (\d+)$/gm;

/** Records every row that is inserted, updated or deleted from now on. */
export async function recordChanges({ sql }: TestServer): Promise<void> {
  await sql.query(`
    CREATE TABLE ${OWN_TABLE} (id bigserial, operation text, "table" text, row jsonb);
    CREATE FUNCTION fuzz_record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      INSERT INTO ${OWN_TABLE} (operation, "table", row)
      VALUES (TG_OP, TG_TABLE_NAME, to_jsonb(CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END));
      RETURN NULL;
    END $$;
    DO $$ DECLARE t regclass; BEGIN
      FOR t IN SELECT oid::regclass FROM pg_class WHERE relnamespace = 'public'::regnamespace
        AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> '${OWN_TABLE}' AND relname NOT LIKE 'knex%'
      LOOP EXECUTE format('CREATE TRIGGER fuzz_record AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION fuzz_record()', t);
      END LOOP;
    END $$`);
}

export async function traceRequest(server: TestServer, names: Names, request: RawRequest): Promise<Traced> {
  await server.sql.query(`DELETE FROM ${OWN_TABLE}`);
  const metrics = await readCounters(server);
  const firstLine = server.logLines.length;
  const engineRequests = engineRequestCount();
  const response = await sendRaw(Number(new URL(server.issuer).port), request);
  const requestId = response?.headers.find(([name]) => name === 'x-request-id')?.[1];
  // What is not HTTP is refused by Node, without an id and a log line.
  const isRefusedByNode = response !== undefined && requestId === undefined && !isIncomplete(request);
  // That a body is incomplete is logged when the connection has closed.
  const lineCount = isIncomplete(request) ? 2 : 1;
  const log = isRefusedByNode ? [] : await logOf(server, firstLine, requestId, lineCount);
  const isOfEngine = engineRequestCount() > engineRequests;
  const grown = Object.entries(await readCounters(server)).map(([name, count]) => [name, count - (metrics[name] ?? 0)]);
  return {
    isOfEngine,
    trace: {
      ...answerOf(response, names),
      rows: await changesOf(server, names, requestId),
      log: sorted(log.map((line) => comparable(line, names))),
      metrics: Object.fromEntries(grown.filter(([, count]) => count !== 0)),
    },
  };
}

function answerOf(response: RawResponse | undefined, names: Names): Pick<Trace, 'status' | 'headers' | 'body'> {
  if (response === undefined) return { status: undefined, headers: [], body: undefined };
  const { status, headers, text } = response;
  const lasting = headers.filter(([name]) => !VOLATILE_HEADERS.includes(name));
  const isJson = headers.some(([name, value]) => name === 'content-type' && value.includes('json'));
  return {
    status,
    headers: lasting.map(([name, value]) => `${name}: ${name === 'dpop-nonce' ? value.length : value}`).sort(),
    body: comparable(isJson && text !== '' ? JSON.parse(text) : text, names),
  };
}

/** The lines about one request, of which `request` is written when its connection has closed. */
async function logOf(server: TestServer, from: number, requestId: string | undefined, minCount: number) {
  const lines = () =>
    server.logLines
      .slice(from)
      .map((line): Record<string, unknown> => JSON.parse(line))
      .filter((line) => line.request_id !== undefined && (requestId ?? line.request_id) === line.request_id);
  const isComplete = () => lines().length >= minCount && lines().some(({ msg }) => msg === 'request');
  await until(isComplete, 'the log line of a request');
  return lines().map(({ time: _time, request_id: _id, duration_ms: _duration, ...line }) => line);
}

interface Change {
  readonly operation: string;
  readonly table: string;
  readonly row: Record<string, unknown>;
}

async function changesOf({ sql }: TestServer, names: Names, requestId: string | undefined): Promise<unknown[]> {
  const { rows } = await sql.query<Change>(`SELECT operation, "table", row FROM ${OWN_TABLE} ORDER BY id`);
  const changes = rows
    .filter((change) => !isOfBackground(change, requestId))
    .map(({ operation, table, row }) => {
      const { id: _id, request_id: _requestId, issued_at: issuedAt, expires_at: expiresAt, ...columns } = row;
      const lifetimeMs = Date.parse(String(expiresAt)) - Date.parse(String(issuedAt));
      return comparable({ operation, table, lifetime: Math.round(lifetimeMs / 60_000) || 0, ...columns }, names);
    });
  return sorted(changes);
}

function sorted(list: readonly unknown[]): unknown[] {
  return list.toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** What is removed because it has expired, and the last use of a secret, which is written once in a while. */
function isOfBackground({ operation, table, row }: Change, requestId: string | undefined): boolean {
  if (table.startsWith('audit_events')) return row.request_id !== requestId;
  if (/^prun|^client_secrets|^readiness_probes|^change_/.test(table)) return true;
  return operation === 'DELETE' && Date.parse(String(row.expires_at)) < Date.now();
}

async function readCounters({ metricsPort }: TestServer): Promise<Record<string, number>> {
  const text = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  return Object.fromEntries([...text.matchAll(COUNTERS)].map(([, name, value]) => [name, Number(value)]));
}

const JWT = /^eyJ[\w-]+\.[\w-]+\.[\w-]+$/;
const TIME = /^\d{4}-\d\d-\d\d[T ]/;
/** Ids and opaque tokens, of which the first letters tell the kind. Words have neither digits nor capitals. */
const RANDOM = /(?=[\w-]*[A-Z0-9])[\w-]{20,}/g;

function comparable(value: unknown, names: Names): unknown {
  if (Array.isArray(value)) return value.map((entry) => comparable(entry, names));
  if (typeof value === 'number') return value > 1e9 ? 'a time' : value;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([name, member]): [string, unknown] => [
      comparableText(name, names),
      name === 'request_id' || name === 'stack' ? typeof member : comparable(member, names),
    ]);
    return Object.fromEntries(entries);
  }
  if (typeof value !== 'string') return value;
  if (value.startsWith('v1.')) return `sealed (${value.length})`;
  if (JWT.test(value)) return comparableJwt(value, names);
  return TIME.test(value) ? 'a time' : comparableText(value, names);
}

function comparableJwt(jwt: string, names: Names): unknown {
  const { iat = 0, exp, ...claims } = decodeJwt(jwt);
  const lifetime = exp === undefined ? undefined : Math.round((exp - iat) / 60);
  return { header: decodeProtectedHeader(jwt), lifetime, ...(comparable(claims, names) as object) };
}

function comparableText(text: string, names: Names): string {
  return text.replace(RANDOM, (word) => names.get(word) ?? `${/^ly._/.exec(word)?.[0] ?? ''}(${word.length})`);
}
