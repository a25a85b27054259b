// npm run bench:growth: the cost of millions of rows. One temporary PostgreSQL has a database with
// few tokens and one that is filled in stages. They are measured alternately, because the speed of
// a machine drifts by more than the difference.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createDatabase } from '../../src/database/database.ts';
import { startEmbeddedPostgres } from '../../src/database/embedded/embedded-postgres.ts';
import { superuserUrl } from '../../src/database/embedded/roles.ts';
import { migrateToLatest } from '../../src/database/migrations.ts';
import { createLog } from '../../src/log.ts';
import { createArtifactStore } from '../../src/provider/storage/artifact-store.ts';
import { stopAllChildren } from '../subjects/child.ts';
import { bytesPerToken, fillClients, fillTokens } from './fill.ts';
import { findToken, insertToken, lookUpClient, p99, rate, type Subject, sweep } from './measure.ts';
import { introspectTokens, issueTokens, type ServedSubject, serve } from './over-http.ts';

/** The target of shared rates: 5 million rows against none. */
const LEAST_RATIO = 0.75;
/** The target while a backlog is swept: times the usual p99. */
const MOST_P99_RATIO = 2;
/** "None": enough to find, in a table that fits into every cache. */
const FEW_ROWS = 1_000;
const PACED_PER_SECOND = 200;

const { values } = parseArgs({
  options: {
    rows: { type: 'string' },
    clients: { type: 'string' },
    seconds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    setting: { type: 'string', multiple: true, default: [] },
    out: { type: 'string' },
  },
});
const stages = (values.rows ?? (values.quick ? '100000' : '1200000,5000000')).split(',').map(Number);
const clients = Number(values.clients ?? (values.quick ? 1_000 : 100_000));
const seconds = Number(values.seconds ?? (values.quick ? 0.3 : 3));
const rounds = values.quick ? 1 : 3;
const backlog = values.quick ? 20_000 : 600_000;
if (![...stages, clients, seconds].every((number) => number > 0))
  throw new TypeError('the options take positive numbers');

interface Operation<S> {
  readonly name: string;
  /** whether the target includes it */
  readonly counts: boolean;
  /** @returns the rate per second */
  readonly rate: (subject: S) => Promise<number>;
}

const waiting = (callers: number, work: (subject: Subject) => Promise<void>) => (subject: Subject) =>
  rate(callers, seconds, () => work(subject));

const OPERATIONS: readonly Operation<Subject>[] = [
  { name: 'find, 64 waiting', counts: true, rate: waiting(64, findToken) },
  { name: 'find, 8 waiting', counts: true, rate: waiting(8, findToken) },
  { name: 'insert, 64 waiting', counts: true, rate: waiting(64, insertToken) },
  { name: 'insert, 8 waiting', counts: true, rate: waiting(8, insertToken) },
  { name: 'client lookup, 8 waiting', counts: false, rate: waiting(8, lookUpClient) },
];

const OPERATIONS_OVER_HTTP: readonly Operation<ServedSubject>[] = [64, 16].flatMap((connections) => [
  {
    name: `introspection over HTTP, ${connections}`,
    counts: true,
    rate: (subject) => introspectTokens(subject, connections, seconds),
  },
  {
    name: `new token over HTTP, ${connections}`,
    counts: true,
    rate: (subject) => issueTokens(subject, connections, seconds),
  },
]);

const log = createLog('silent');
const say = (line: string) => process.stdout.write(`${line}\n`);
const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN;

async function openSubject(url: string, name: string): Promise<Subject> {
  const own = new URL(url);
  own.pathname = `/${name}`;
  const database = createDatabase({ connectionString: own.href, poolSize: 10, queueSize: 5_000, log });
  await fillClients(database.pool, clients);
  await fillTokens(database.pool, { from: 0, to: FEW_ROWS, clients, expiresInSeconds: 86_400 });
  return { url: own.href, database, store: createArtifactStore(database), tokens: FEW_ROWS, clients };
}

interface Comparison {
  readonly name: string;
  readonly counts: boolean;
  /** medians of the rates and of the ratios of each round */
  readonly few: number;
  readonly many: number;
  readonly ratio: number;
}

/** Measures both subjects alternately. */
async function compare<S extends Subject>(operations: readonly Operation<S>[], few: S, many: S): Promise<Comparison[]> {
  const rates = operations.map(() => ({ few: [] as number[], many: [] as number[], ratios: [] as number[] }));
  for (let round = 0; round < rounds; round++) {
    // Removes the rows of the last round.
    await few.database.pool.query('TRUNCATE oidc_artifacts');
    await fillTokens(few.database.pool, { from: 0, to: FEW_ROWS, clients, expiresInSeconds: 86_400 });
    for (const [index, operation] of operations.entries()) {
      const ofFew = await operation.rate(few);
      const ofMany = await operation.rate(many);
      rates[index]?.few.push(ofFew);
      rates[index]?.many.push(ofMany);
      rates[index]?.ratios.push(ofMany / ofFew);
    }
  }
  return operations.map(({ name, counts }, index) => {
    const { few: fewRates = [], many: manyRates = [], ratios = [] } = rates[index] ?? {};
    return { name, counts, few: median(fewRates), many: median(manyRates), ratio: median(ratios) };
  });
}

async function compareOverHttp(few: Subject, many: Subject, dir: string): Promise<Comparison[]> {
  const folder = (subject: Subject) => mkdtemp(join(dir, `server-of-${subject.tokens}-`));
  try {
    const servedFew = await serve(few, await folder(few));
    return await compare(OPERATIONS_OVER_HTTP, servedFew, await serve(many, await folder(many)));
  } finally {
    await stopAllChildren();
  }
}

/** The p99 of a server with low load before, during and after pruning. */
async function sweepUnderLoad(subject: Subject) {
  const work = () => (Math.random() < 0.5 ? findToken(subject) : insertToken(subject));
  const fill = () =>
    // Positions beyond every stage, so that none of these tokens is looked up.
    fillTokens(subject.database.pool, { from: 1e9, to: 1e9 + backlog, clients, expiresInSeconds: -90_000 });
  await fill();
  const alone = await sweep(subject, 60);
  await fill();
  const usual = () => {
    const endAt = performance.now() + Math.max(seconds * 2, 1) * 1000;
    return p99(PACED_PER_SECOND, work, () => performance.now() > endAt);
  };
  const beforeMs = await usual();
  let isOver = false;
  const sweeping = sweep(subject, 60).finally(() => {
    isOver = true;
  });
  const meanwhileMs = await p99(PACED_PER_SECOND, work, () => isOver);
  // The better of the two: a checkpoint during one of them would raise the reference.
  const usualMs = Math.min(beforeMs, await usual());
  return { alone, underLoad: await sweeping, usualMs, meanwhileMs, ratio: meanwhileMs / usualMs };
}

/** Like autovacuum, which may run on the same table already. */
async function vacuumSeconds({ database }: Subject): Promise<number> {
  const client = await database.pool.connect();
  try {
    await client.query('SET statement_timeout = 0');
    const startedAt = performance.now();
    await client.query('VACUUM ANALYZE oidc_artifacts_access_tokens');
    return (performance.now() - startedAt) / 1000;
  } finally {
    client.release(true);
  }
}

type Stage = Awaited<ReturnType<typeof runStage>>;

async function runStage(few: Subject, many: Subject, rows: number, dir: string) {
  const { pool } = many.database;
  const fillStartedAt = performance.now();
  await fillTokens(pool, { from: many.tokens, to: rows, clients, expiresInSeconds: 86_400 });
  many.tokens = rows;
  await pool.query('ANALYZE oidc_artifacts_access_tokens');
  await pool.query('CHECKPOINT');
  const fillSeconds = (performance.now() - fillStartedAt) / 1000;
  const bytesPerRow = await bytesPerToken(pool);
  const rates = await compare(OPERATIONS, few, many);
  // Only after the last stage, because the server adds its clients and APIs to both databases.
  if (rows === stages.at(-1)) rates.push(...(await compareOverHttp(few, many, dir)));
  const sweeps = await sweepUnderLoad(many);
  return { rows, fillSeconds, bytesPerRow, rates, sweeps, vacuumSeconds: await vacuumSeconds(many) };
}

function print({ rows, fillSeconds, bytesPerRow, rates, sweeps, vacuumSeconds: vacuum }: Stage): void {
  const column = (value: number, width: number) => value.toFixed(0).padStart(width);
  say(`\n${rows} token rows, ${clients} clients (filled in ${fillSeconds.toFixed(0)} s, ${bytesPerRow} bytes a row)`);
  say(`${'per second'.padEnd(28)}${'few rows'.padStart(10)}${'these'.padStart(10)}   ratio`);
  for (const { name, few, many, ratio } of rates) {
    say(`${name.padEnd(28)}${column(few, 10)}${column(many, 10)}   ${ratio.toFixed(2)}`);
  }
  for (const [name, sweep] of [['alone', sweeps.alone] as const, ['under load', sweeps.underLoad] as const]) {
    say(
      `sweep of ${sweep.rows}, ${name}: ${column(sweep.rowsPerSecond, 0)} rows/s with its pauses, ` +
        `${column(sweep.rowsPerBusySecond, 0)} without, longest batch ${column(sweep.longestBatchMs, 0)} ms`,
    );
  }
  const { usualMs, meanwhileMs, ratio } = sweeps;
  say(
    `p99 at ${PACED_PER_SECOND}/s: ${usualMs.toFixed(1)} ms, while sweeping ${meanwhileMs.toFixed(1)} ms (${ratio.toFixed(2)} x)`,
  );
  say(`vacuum after it: ${vacuum.toFixed(1)} s`);
}

async function run(dir: string): Promise<void> {
  const settings = Object.fromEntries(values.setting.map((setting) => setting.split('=', 2)));
  const dataDir = join(dir, 'postgres');
  const postgres = await startEmbeddedPostgres({ dataDir, databaseName: 'few', settings, log: () => {} });
  const open: Subject[] = [];
  try {
    const fewUrl = await superuserUrl(dataDir, { port: postgres.port, databaseName: 'few' });
    await migrateToLatest(fewUrl);
    const few = await openSubject(fewUrl, 'few');
    open.push(few);
    await few.database.pool.query('CREATE DATABASE many');
    const ofMany = new URL(fewUrl);
    ofMany.pathname = '/many';
    await migrateToLatest(ofMany.href);
    const many = await openSubject(fewUrl, 'many');
    open.push(many);
    const results: Stage[] = [];
    for (const rows of stages) {
      const stage = await runStage(few, many, rows, dir);
      results.push(stage);
      print(stage);
    }
    const last = results.at(-1) as Stage;
    const isRateKept = last.rates.every(({ ratio, counts }) => !counts || ratio >= LEAST_RATIO);
    const isP99Kept = last.sweeps.ratio <= MOST_P99_RATIO;
    say(`\nfind and insert >= ${LEAST_RATIO} of the rate without rows: ${isRateKept ? 'met' : 'MISSED'}`);
    say(`p99 while sweeping <= ${MOST_P99_RATIO} x: ${isP99Kept ? 'met' : 'MISSED'}`);
    const json = JSON.stringify({ clients, seconds, backlog, stages: results, isRateKept, isP99Kept }, undefined, 2);
    if (values.out === undefined) say(`\n${json}`);
    else await writeFile(values.out, `${json}\n`);
  } finally {
    for (const { database } of open) await database.close();
    await postgres.stop();
  }
}

const dir = await mkdtemp(join(tmpdir(), 'lanyard-growth-'));
try {
  await run(dir);
} finally {
  await rm(dir, { recursive: true, force: true });
}
