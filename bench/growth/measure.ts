// The measurements, through the functions of the server. `callers` wait at the same time, and their
// requests are batched into shared statements as in the server.

import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { lookUpClients } from '../../src/clients/lookup.ts';
import type { Database } from '../../src/database/database.ts';
import type { ArtifactStore } from '../../src/provider/storage/artifact-store.ts';
import { createPruner } from '../../src/pruning/round.ts';
import { AUDIENCE, clientIdOf, MODEL, SCOPES, tokenId } from './fill.ts';

/** A database and its content. */
export interface Subject {
  readonly url: string;
  readonly database: Database;
  readonly store: ArtifactStore;
  tokens: number;
  readonly clients: number;
}

export const below = (limit: number): number => Math.floor(Math.random() * limit);

export async function findToken({ store, tokens }: Subject): Promise<void> {
  const found = await store.find(MODEL, tokenId(below(tokens)));
  if (found === undefined) throw new Error('a token that was filled in is not found');
}

/** A token and its audit event, as one unit of work. */
export async function insertToken({ store, clients }: Subject): Promise<void> {
  const clientId = clientIdOf(below(clients));
  const issuedAt = Math.floor(Date.now() / 1000);
  const payload = {
    iat: issuedAt,
    exp: issuedAt + 86_400,
    kind: MODEL,
    clientId,
    aud: AUDIENCE,
    scope: SCOPES,
    extra: { azp: clientId },
  };
  const of = { accountId: undefined, grantId: undefined, uid: undefined, userCode: undefined };
  const detail = { kind: MODEL, aud: AUDIENCE, scope: SCOPES, grant_type: 'client_credentials' };
  await store.commit([
    {
      kind: 'upsert',
      artifact: { ...of, model: MODEL, id: randomBytes(32), payload, clientId, issuedAt, expiresAt: issuedAt + 86_400 },
    },
    { kind: 'audit', event: { type: 'token.issued', actor: `client:${clientId}`, clientId, detail } },
  ]);
}

export async function lookUpClient({ database, clients }: Subject): Promise<void> {
  const [client] = await lookUpClients(database.batchQuery, [clientIdOf(below(clients))]);
  if (client === undefined) throw new Error('a client that was filled in is not found');
}

/** @returns the rate per second */
export async function rate(callers: number, seconds: number, work: () => Promise<void>): Promise<number> {
  const startedAt = performance.now();
  const endAt = startedAt + seconds * 1000;
  let count = 0;
  const caller = async () => {
    for (; performance.now() < endAt; count++) await work();
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return (count * 1000) / (performance.now() - startedAt);
}

/** Starts calls at a constant rate, also while earlier ones run. @returns the p99 in ms */
export async function p99(perSecond: number, work: () => Promise<void>, isOver: () => boolean): Promise<number> {
  const times: number[] = [];
  const running: Promise<void>[] = [];
  const startedAt = performance.now();
  for (let count = 0; !isOver(); count++) {
    const dueAt = startedAt + (count * 1000) / perSecond;
    if (dueAt > performance.now()) await sleep(dueAt - performance.now());
    running.push(work().then(() => void times.push(performance.now() - dueAt)));
  }
  await Promise.all(running);
  times.sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.99)] ?? Number.NaN;
}

export interface Sweep {
  readonly rows: number;
  /** including the pauses */
  readonly rowsPerSecond: number;
  readonly rowsPerBusySecond: number;
  readonly longestBatchMs: number;
}

/** Prunes like the server, until no row is left or the time is over. */
export async function sweep({ database }: Subject, maxSeconds: number): Promise<Sweep> {
  const pruner = createPruner(database.query);
  let [rows, durationMs, busyMs, longestBatchMs] = [0, 0, 0, 0];
  const signal = AbortSignal.timeout(maxSeconds * 1000);
  for (let isBehind = true; isBehind && !signal.aborted; ) {
    const report = await pruner.round(signal);
    rows += Object.values(report.removed).reduce((sum, one) => sum + one);
    durationMs += report.durationMs;
    busyMs += report.busyMs;
    longestBatchMs = Math.max(longestBatchMs, report.longestBatchMs);
    isBehind = report.isBehind;
  }
  return {
    rows,
    rowsPerSecond: (rows * 1000) / durationMs,
    rowsPerBusySecond: (rows * 1000) / busyMs,
    longestBatchMs,
  };
}
