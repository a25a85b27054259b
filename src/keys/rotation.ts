// What may be done to signing keys. Each function is one transaction with its audit event inside; the nodes hear of it by the
// change feed and change over by the clock (follow-keys).

import { type ChangedBy, recordAudit } from '../audit/audit.ts';
import type { Database, Query } from '../database/database.ts';
import { AppError, notFound } from '../errors.ts';
import { generateKey, isPostQuantum, type KeyAlgorithm, UnsupportedAlgorithmError } from './generate-key.ts';
import { type KeyState, withStates } from './key-ring.ts';
import type { SealingKeys } from './seal.ts';
import * as store from './store.ts';

const DAY_MS = 86_400_000;

export interface KeySchedule {
  /** how old an active key becomes; undefined: rotated by hand only */
  readonly rotationDays: number | undefined;
  /** how long a key is published before it signs: longer than verifiers keep a JWKS */
  readonly publishAheadSeconds: number;
  /** how long a key is published after it has signed for the last time: as long as the longest-lived thing that it signed matters */
  readonly keptSeconds: number;
}

export interface KeyRotation {
  /** Adds the first key of an algorithm. Post-quantum keys are unpublished unless `isPublished` says otherwise. */
  add(alg: KeyAlgorithm, isPublished: boolean | undefined, by: ChangedBy): Promise<store.StoredKey>;
  publish(kid: string, by: ChangedBy): Promise<store.StoredKey>;
  /** @param aheadSeconds how long the new key is published before it signs; by default as the schedule has it */
  rotate(alg: string, aheadSeconds: number | undefined, by: ChangedBy): Promise<store.StoredKey>;
  /** Takes a key out of use at once: whatever it signed counts for nothing from now on. A successor takes its place. */
  retire(kid: string, by: ChangedBy): Promise<void>;
  /** Removes what has served its time, and rotates what is old enough. Whoever calls it first does it. */
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

export function createKeyRotation({ database, sealingKeys, schedule }: KeyRotationDeps): KeyRotation {
  /** One at a time, over all nodes. */
  function changing<T>(work: (ring: Ring) => Promise<T>): Promise<T> {
    return database.transaction(async (query) => {
      await store.lockKeys(query);
      return work({ query, keys: withStates(await store.listKeys(query), new Date()) });
    });
  }

  async function insert({ query }: Ring, key: store.StoredKey, by: ChangedBy): Promise<store.StoredKey> {
    await store.insertKey(query, key);
    await store.setRemovals(query, key.alg, schedule.keptSeconds);
    const detail = { kid: key.kid, alg: key.alg, activate_at: key.activateAt.toISOString() };
    await recordAudit(query, { type: 'signing_key.created', ...by, detail });
    return key;
  }

  async function addSuccessor(ring: Ring, alg: string, activateAt: Date, by: ChangedBy): Promise<store.StoredKey> {
    return insert(ring, await generateKey(alg, sealingKeys, { activateAt }), by);
  }

  return {
    add(alg, isPublished = !isPostQuantum(alg), by) {
      return changing(async (ring) => {
        if (ring.keys.some(({ key }) => key.alg === alg)) {
          throw new AppError('conflict', `there is a key for ${alg} already: rotate it, or publish it`);
        }
        try {
          return await insert(ring, await generateKey(alg, sealingKeys, { isPublished }), by);
        } catch (error) {
          if (!(error instanceof UnsupportedAlgorithmError)) throw error;
          const detail = 'this server runs on a Node that does not offer it';
          throw new AppError('validation_failed', `/alg ${detail}`, { faults: [{ pointer: '/alg', detail }] });
        }
      });
    },

    publish(kid, by) {
      return changing(async ({ query, keys }) => {
        const { key } = keys.find(({ key }) => key.kid === kid) ?? {};
        if (key === undefined) throw notFound(`signing key ${kid}`);
        if (key.isPublished) return key;
        const activateAt = new Date();
        await store.publishKey(query, kid, activateAt);
        await recordAudit(query, { type: 'signing_key.published', ...by, detail: { kid, alg: key.alg } });
        return { ...key, isPublished: true, activateAt };
      });
    },

    rotate(alg, aheadSeconds = schedule.publishAheadSeconds, by) {
      return changing((ring) => {
        const ofAlg = ring.keys.filter(({ key, state }) => key.alg === alg && state !== 'unpublished');
        if (ofAlg.length === 0) throw notFound(`published signing key for ${alg}`);
        if (ofAlg.some(({ state }) => state === 'next')) {
          throw new AppError('conflict', `the next key for ${alg} is waiting already`);
        }
        return addSuccessor(ring, alg, new Date(Date.now() + aheadSeconds * 1000), by);
      });
    },

    retire(kid, by) {
      return changing(async (ring) => {
        const { query, keys } = ring;
        const { key, state } = keys.find(({ key }) => key.kid === kid) ?? {};
        if (key === undefined) throw notFound(`signing key ${kid}`);
        await store.removeKey(query, kid);
        await recordAudit(query, { type: 'signing_key.removed', ...by, detail: { kid, alg: key.alg, state } });
        if (state === 'active') {
          const next = keys.find((other) => other.key.alg === key.alg && other.state === 'next');
          if (next === undefined) await addSuccessor(ring, key.alg, new Date(), by);
          else await store.setActivation(query, next.key.kid, new Date());
        }
        await store.setRemovals(query, key.alg, schedule.keptSeconds);
      });
    },

    async keepSchedule() {
      const keys = withStates(await store.listKeys(database.query), new Date());
      const hasOutdated = await store.hasOutdatedKeys(database.query);
      if (!hasOutdated && dueForRotation(keys, schedule).length === 0) return;
      await changing(async (ring) => {
        for (const { kid, alg } of await store.removeOutdatedKeys(ring.query)) {
          const detail = { kid, alg, state: 'retired' };
          await recordAudit(ring.query, { type: 'signing_key.removed', actor: 'system', detail });
        }
        for (const { key, dueAt } of dueForRotation(ring.keys, schedule)) {
          const earliest = Date.now() + schedule.publishAheadSeconds * 1000;
          await addSuccessor(ring, key.alg, new Date(Math.max(dueAt, earliest)), { actor: 'system' });
        }
      });
    },
  };
}

/** The active keys that are to be followed soon, without a successor yet, and when (milliseconds). */
function dueForRotation(
  keys: Ring['keys'],
  { rotationDays, publishAheadSeconds }: KeySchedule,
): { key: store.StoredKey; dueAt: number }[] {
  if (rotationDays === undefined) return [];
  const followed = new Set(keys.filter(({ state }) => state === 'next').map(({ key }) => key.alg));
  return keys
    .filter(({ key, state }) => state === 'active' && !followed.has(key.alg))
    .map(({ key }) => ({ key, dueAt: key.activateAt.getTime() + rotationDays * DAY_MS }))
    .filter(({ dueAt }) => dueAt - publishAheadSeconds * 1000 <= Date.now());
}
