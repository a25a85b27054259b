// Changes of the signing keys. Each one is a transaction that includes its audit event. The other
// nodes learn of it by the change log, and change keys at the dates in it (follow-keys).

import { type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, notFound } from '../errors.ts';
import { generateKey, isPostQuantum, type KeyAlgorithm, UnsupportedAlgorithmError } from './generate-key.ts';
import { type KeyState, withStates } from './key-ring.ts';
import type { SealingKeys } from './seal.ts';
import * as store from './store.ts';

const DAY_MS = 86_400_000;

export interface KeySchedule {
  /** age at which an active key is rotated; undefined: never by itself */
  readonly rotationDays: number | undefined;
  /** how long a key is published before it signs: longer than verifiers cache a JWKS */
  readonly publishAheadSeconds: number;
  /** how long a retired key is published: the longest lifetime of anything that it signed */
  readonly keptSeconds: number;
}

export interface KeyRotation {
  /** Adds the first key of an algorithm. By default, post-quantum keys are unpublished. */
  add(alg: KeyAlgorithm, isPublished: boolean | undefined, by: ChangedBy): Promise<store.StoredKey>;
  publish(kid: string, by: ChangedBy): Promise<store.StoredKey>;
  /** @param aheadSeconds how long the new key is published before it signs; default: schedule */
  rotate(alg: KeyAlgorithm, aheadSeconds: number | undefined, by: ChangedBy): Promise<store.StoredKey>;
  /** Removes a key at once: its signatures are invalid from now on. A successor takes its place. */
  retire(kid: string, by: ChangedBy): Promise<void>;
  /** Removes expired keys and rotates old ones. Several nodes may call it; one does the work. */
  keepSchedule(): Promise<void>;
}

export interface KeyRotationDeps {
  readonly database: Database;
  readonly sealingKeys: SealingKeys;
  readonly schedule: KeySchedule;
}

interface Ring {
  readonly query: Query;
  readonly keys: readonly { readonly key: store.StoredKey; readonly state: KeyState }[];
}

export function createKeyRotation(deps: KeyRotationDeps): KeyRotation {
  return {
    add: (alg, isPublished = !isPostQuantum(alg), by) =>
      change(deps, (ring) => addKey(deps, ring, alg, isPublished, by)),
    publish: (kid, by) => change(deps, (ring) => publishKey(ring, kid, by)),
    rotate: (alg, aheadSeconds = deps.schedule.publishAheadSeconds, by) =>
      change(deps, (ring) => rotateKey(deps, ring, alg, aheadSeconds, by)),
    retire: (kid, by) => change(deps, (ring) => retireKey(deps, ring, kid, by)),
    keepSchedule: () => keepSchedule(deps),
  };
}

/** One change at a time, over all nodes. */
function change<T>({ database }: KeyRotationDeps, work: (ring: Ring) => Promise<T>): Promise<T> {
  return database.transaction(async (query) => {
    await store.lockKeys(query);
    return work({ query, keys: withStates(await store.listKeys(query), new Date()) });
  });
}

async function addKey(
  deps: KeyRotationDeps,
  ring: Ring,
  alg: KeyAlgorithm,
  isPublished: boolean,
  by: ChangedBy,
): Promise<store.StoredKey> {
  if (ring.keys.some(({ key }) => key.alg === alg)) {
    throw new AppError('conflict', `there is a key for ${alg} already: rotate it, or publish it`);
  }
  try {
    return await insert(deps, ring, await generateKey(alg, deps.sealingKeys, { isPublished }), by);
  } catch (error) {
    if (!(error instanceof UnsupportedAlgorithmError)) throw error;
    const detail = 'the Node version of this server does not support it';
    throw new AppError('validation_failed', `/alg ${detail}`, { faults: [{ pointer: '/alg', detail }] });
  }
}

async function publishKey({ query, keys }: Ring, kid: string, by: ChangedBy): Promise<store.StoredKey> {
  const { key } = find(keys, kid);
  if (key.isPublished) return key;
  const activateAt = new Date();
  await store.publishKey(query, kid, activateAt);
  await recordAudit(query, { type: 'signing_key.published', ...by, detail: { kid, alg: key.alg } });
  return { ...key, isPublished: true, activateAt };
}

async function rotateKey(
  deps: KeyRotationDeps,
  ring: Ring,
  alg: KeyAlgorithm,
  aheadSeconds: number,
  by: ChangedBy,
): Promise<store.StoredKey> {
  const published = ring.keys.filter(({ key, state }) => key.alg === alg && state !== 'unpublished');
  if (published.length === 0) throw notFound(`published signing key for ${alg}`);
  if (published.some(({ state }) => state === 'next')) {
    throw new AppError('conflict', `there is a next key for ${alg} already`);
  }
  return addSuccessor(deps, ring, alg, new Date(Date.now() + aheadSeconds * 1000), by);
}

async function retireKey(deps: KeyRotationDeps, ring: Ring, kid: string, by: ChangedBy): Promise<void> {
  const { query, keys } = ring;
  const { key, state } = find(keys, kid);
  await store.removeKey(query, kid);
  await recordAudit(query, { type: 'signing_key.removed', ...by, detail: { kid, alg: key.alg, state } });
  if (state === 'active') {
    const next = keys.find((other) => other.key.alg === key.alg && other.state === 'next');
    if (next === undefined) await addSuccessor(deps, ring, key.alg, new Date(), by);
    else await store.setActivation(query, next.key.kid, new Date());
  }
  await store.setRemovals(query, key.alg, deps.schedule.keptSeconds);
}

async function keepSchedule(deps: KeyRotationDeps): Promise<void> {
  const { database, schedule } = deps;
  const keys = withStates(await store.listKeys(database.query), new Date());
  const hasOutdated = await store.hasOutdatedKeys(database.query);
  if (!hasOutdated && dueForRotation(keys, schedule).length === 0) return;
  await change(deps, async (ring) => {
    for (const { kid, alg } of await store.removeOutdatedKeys(ring.query)) {
      const detail = { kid, alg, state: 'retired' };
      await recordAudit(ring.query, { type: 'signing_key.removed', actor: 'system', detail });
    }
    for (const { key, dueAt } of dueForRotation(ring.keys, schedule)) {
      const earliest = Date.now() + schedule.publishAheadSeconds * 1000;
      await addSuccessor(deps, ring, key.alg, new Date(Math.max(dueAt, earliest)), { actor: 'system' });
    }
  });
}

async function addSuccessor(
  deps: KeyRotationDeps,
  ring: Ring,
  alg: string,
  activateAt: Date,
  by: ChangedBy,
): Promise<store.StoredKey> {
  return insert(deps, ring, await generateKey(alg, deps.sealingKeys, { activateAt }), by);
}

async function insert(
  { schedule }: KeyRotationDeps,
  { query }: Ring,
  key: store.StoredKey,
  by: ChangedBy,
): Promise<store.StoredKey> {
  await store.insertKey(query, key);
  await store.setRemovals(query, key.alg, schedule.keptSeconds);
  const detail = { kid: key.kid, alg: key.alg, activate_at: key.activateAt.toISOString() };
  await recordAudit(query, { type: 'signing_key.created', ...by, detail });
  return key;
}

/** @throws AppError `not_found` */
function find(keys: Ring['keys'], kid: string): Ring['keys'][number] {
  const found = keys.find(({ key }) => key.kid === kid);
  if (found === undefined) throw notFound(`signing key ${kid}`);
  return found;
}

/** The active keys without a successor that are to be rotated now. `dueAt` is in milliseconds. */
function dueForRotation(
  keys: Ring['keys'],
  { rotationDays, publishAheadSeconds }: KeySchedule,
): { key: store.StoredKey; dueAt: number }[] {
  if (rotationDays === undefined) return [];
  const withSuccessor = new Set(keys.filter(({ state }) => state === 'next').map(({ key }) => key.alg));
  return keys
    .filter(({ key, state }) => state === 'active' && !withSuccessor.has(key.alg))
    .map(({ key }) => ({ key, dueAt: key.activateAt.getTime() + rotationDays * DAY_MS }))
    .filter(({ dueAt }) => dueAt - publishAheadSeconds * 1000 <= Date.now());
}
