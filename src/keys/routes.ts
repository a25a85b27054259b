// /admin/v1/keys: the signing keys. A response never contains a private key.

import { z } from 'zod';
import type { ChangedBy } from '../audit/audit.ts';
import type { Query } from '../database/database.ts';
import { type ApiAnswer, type ApiRoute, apiRoute } from '../http/api-route.ts';
import { instant, text } from '../http/fields.ts';
import { pageSchema } from '../http/pagination.ts';
import { KEY_ALGORITHMS } from './generate-key.ts';
import { type KeyState, stateOfNewest, withStates } from './key-ring.ts';
import type { KeyRotation } from './rotation.ts';
import { listKeys, type StoredKey } from './store.ts';

const keySchema = z
  .object({
    kid: z.string().meta({ description: 'RFC 7638 thumbprint' }),
    alg: z.string(),
    state: z.enum(['unpublished', 'next', 'active', 'retired']).meta({
      description:
        'next: published, signs from activate_at on; active: signs; retired: published until remove_at, to verify what it signed',
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
    .meta({ description: 'default: true, but false for ML-DSA, which not every client supports' }),
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
        'how long the new key is published before it signs; default: LANYARD_KEY_PUBLISH_AHEAD_HOURS. Verifiers that cache a JWKS for longer refuse tokens until they have read it again',
    }),
});
const kidParams = z.strictObject({ kid: text(100) });
const tag = 'keys';

export interface KeyRoutesDeps {
  readonly query: Query;
  readonly rotation: KeyRotation;
  /** Resolves when this node uses all committed changes. */
  readonly refresh: () => Promise<void>;
}

export function keyRoutes(deps: KeyRoutesDeps): ApiRoute[] {
  return [
    apiRoute({
      operationId: 'listKeys',
      method: 'get',
      path: '/keys',
      tag,
      scope: 'admin:read',
      summary: 'List the signing keys',
      answers: { 200: { description: 'The keys', schema: pageSchema(keySchema) } },
      handle: () => list(deps),
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
      handle: ({ body, by }) => created(deps, deps.rotation.add(body.alg, body.published, by)),
    }),
    apiRoute({
      operationId: 'rotateKey',
      method: 'post',
      path: '/keys/rotate',
      tag,
      scope: 'admin:write',
      summary: 'Add the next key of an algorithm',
      body: rotateBody,
      answers: { 201: { description: 'The next key', schema: keySchema } },
      handle: ({ body, by }) => created(deps, deps.rotation.rotate(body.alg, body.publish_ahead_seconds, by)),
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
      handle: ({ params, by }) => publish(deps, params.kid, by),
    }),
    apiRoute({
      operationId: 'retireKey',
      method: 'delete',
      path: '/keys/{kid}',
      tag,
      scope: 'admin:write',
      summary: 'Remove a key at once; its signatures become invalid',
      params: kidParams,
      answers: { 204: { description: 'Removed' } },
      handle: ({ params, by }) => retire(deps, params.kid, by),
    }),
  ];
}

async function list({ query }: KeyRoutesDeps): Promise<ApiAnswer> {
  const keys = withStates(await listKeys(query), new Date());
  return { status: 200, body: { items: keys.map(({ key, state }) => toWire(key, state)), next_cursor: null } };
}

async function created({ refresh }: KeyRoutesDeps, added: Promise<StoredKey>): Promise<ApiAnswer> {
  const key = await added;
  await refresh();
  return { status: 201, location: '/admin/v1/keys', body: toWire(key, stateOfNewest(key, new Date())) };
}

async function publish({ rotation, refresh }: KeyRoutesDeps, kid: string, by: ChangedBy): Promise<ApiAnswer> {
  const key = await rotation.publish(kid, by);
  await refresh();
  return { status: 200, body: toWire(key, stateOfNewest(key, new Date())) };
}

async function retire({ rotation, refresh }: KeyRoutesDeps, kid: string, by: ChangedBy): Promise<ApiAnswer> {
  await rotation.retire(kid, by);
  await refresh();
  return { status: 204 };
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
