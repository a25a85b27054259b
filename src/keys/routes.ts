// /admin/v1/keys: the signing keys. Private parts are never shown.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { instant, text } from '../http/fields.ts';
import { pageSchema } from '../http/pagination.ts';
import { KEY_ALGORITHMS } from './generate-key.ts';
import { type KeyState, withStates } from './key-ring.ts';
import type { KeyRotation } from './rotation.ts';
import { listKeys, type StoredKey } from './store.ts';

const keySchema = z
  .object({
    kid: z.string().meta({ description: 'RFC 7638 thumbprint' }),
    alg: z.string(),
    state: z.enum(['unpublished', 'next', 'active', 'retired']).meta({
      description:
        'next: published, signs from activate_at on; active: signs; retired: published until remove_at, so that what it signed can be verified',
    }),
    public_jwk: z.record(z.string(), z.unknown()),
    activate_at: instant,
    remove_at: instant.nullable(),
  })
  .meta({ id: 'SigningKey' });

const algorithm = z.enum(KEY_ALGORITHMS, `must be one of ${KEY_ALGORITHMS.join(', ')}`);

const addBody = z.strictObject({
  alg: algorithm,
  published: z
    .boolean('must be true or false')
    .optional()
    .meta({ description: 'true if left out, but false for ML-DSA: not every client can read those keys' }),
});
const rotateBody = z.strictObject({
  alg: algorithm,
  publish_ahead_seconds: z
    .int('must be a whole number')
    .min(0, 'must not be negative')
    .max(30 * 86_400, 'must be 30 days at most')
    .optional()
    .meta({
      description:
        'how long the new key is published before it signs; LANYARD_KEY_PUBLISH_AHEAD_HOURS if left out. Verifiers that keep a JWKS for longer refuse tokens until they have read it again',
    }),
});
const kidParams = z.strictObject({ kid: text(100) });
const tag = 'keys';

export interface KeyRoutesDeps {
  readonly query: Query;
  readonly rotation: KeyRotation;
  /** Resolves when this node uses what was committed. */
  readonly refresh: () => Promise<void>;
}

export function keyRoutes({ query, rotation, refresh }: KeyRoutesDeps): ApiRoute[] {
  return [
    apiRoute({
      operationId: 'listKeys',
      method: 'get',
      path: '/keys',
      tag,
      scope: 'admin:read',
      summary: 'List the signing keys',
      answers: { 200: { description: 'The keys', schema: pageSchema(keySchema) } },
      async handle() {
        const keys = withStates(await listKeys(query), new Date());
        return { status: 200, body: { items: keys.map(({ key, state }) => toWire(key, state)), next_cursor: null } };
      },
    }),
    apiRoute({
      operationId: 'addKey',
      method: 'post',
      path: '/keys',
      tag,
      scope: 'admin:write',
      summary: 'Add the first key of an algorithm',
      body: addBody,
      answers: { 201: { description: 'The key', schema: keySchema } },
      async handle({ body, by }) {
        return created(await rotation.add(body.alg, body.published, by));
      },
    }),
    apiRoute({
      operationId: 'rotateKey',
      method: 'post',
      path: '/keys/rotate',
      tag,
      scope: 'admin:write',
      summary: 'Make the next key of an algorithm',
      body: rotateBody,
      answers: { 201: { description: 'The next key', schema: keySchema } },
      async handle({ body, by }) {
        return created(await rotation.rotate(body.alg, body.publish_ahead_seconds, by));
      },
    }),
    apiRoute({
      operationId: 'publishKey',
      method: 'post',
      path: '/keys/{kid}/publish',
      tag,
      scope: 'admin:write',
      summary: 'Publish a key that was added unpublished',
      params: kidParams,
      answers: { 200: { description: 'The key', schema: keySchema } },
      async handle({ params, by }) {
        const key = await rotation.publish(params.kid, by);
        await refresh();
        return { status: 200, body: toWire(key, stateNow(key)) };
      },
    }),
    apiRoute({
      operationId: 'retireKey',
      method: 'delete',
      path: '/keys/{kid}',
      tag,
      scope: 'admin:write',
      summary: 'Take a key out of use at once; whatever it signed counts for nothing any more',
      params: kidParams,
      answers: { 204: { description: 'Removed' } },
      async handle({ params, by }) {
        await rotation.retire(params.kid, by);
        await refresh();
        return { status: 204 };
      },
    }),
  ];

  async function created(key: StoredKey) {
    await refresh();
    return { status: 201 as const, location: '/admin/v1/keys', body: toWire(key, stateNow(key)) };
  }
}

/** Of a key that has no successor. */
function stateNow(key: StoredKey): KeyState {
  return withStates([key], new Date())[0]?.state as KeyState;
}

function toWire(key: StoredKey, state: KeyState) {
  return {
    kid: key.kid,
    alg: key.alg,
    state,
    public_jwk: key.publicJwk,
    activate_at: key.activateAt.toISOString(),
    remove_at: key.removeAt?.toISOString() ?? null,
  };
}
