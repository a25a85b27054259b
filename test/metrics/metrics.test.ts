// The metrics alone: the samples of a new registry, and the limit on the number of series.

import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { loadConfig } from '../../src/config/config.ts';
import { createClientLabels, MAX_CLIENT_LABELS, OTHER } from '../../src/metrics/client-labels.ts';
import { ENDPOINT_LABELS, GRANT_TYPES, TOKEN_KINDS } from '../../src/metrics/closed-lists.ts';
import { createEndpointFinder, ENDPOINTS } from '../../src/metrics/endpoints.ts';
import { createMetrics, type Metrics } from '../../src/metrics/metrics.ts';
import { createMetricsServer } from '../../src/metrics/serve.ts';
import { ROUTES } from '../../src/provider/routes.ts';
import { type Exposition, parseExposition } from '../support/exposition.ts';

const read = async (metrics: Metrics): Promise<Exposition> => parseExposition((await metrics.read()).body);
const namesIn = ({ samples }: Exposition) => new Set(samples.map(({ name }) => name));

/** @returns how many of the tokens were counted under which label */
function issue(clientIds: Iterable<string>): Map<string, number> {
  const labelOf = createClientLabels();
  const counts = new Map<string, number>();
  for (const clientId of clientIds) {
    const label = labelOf(clientId);
    counts.set(label, (counts.get(label) ?? 0) + 1);
  }
  return counts;
}

describe('the labels of clients', () => {
  test('a small installation has a label for each client from the first token on', () => {
    const clientIds = Array.from({ length: 25 }, (_, n) => `client-${n}`);
    expect(issue(clientIds)).toEqual(new Map(clientIds.map((clientId) => [clientId, 1])));
  });

  test('ten thousand clients get no more than the maximum of labels, and the sum is that of all tokens', () => {
    const counts = issue(
      (function* () {
        for (let n = 0; n < 200_000; n++) yield `client-${Math.floor(10_000 * Math.random() ** 4)}`;
      })(),
    );
    expect(counts.size).toBeLessThanOrEqual(MAX_CLIENT_LABELS + 1);
    expect([...counts.values()].reduce((sum, count) => sum + count)).toBe(200_000);
  });

  test('a large client gets a label after a thousand small ones; its earlier tokens stay under other', () => {
    const counts = issue(
      (function* () {
        for (let n = 0; n < 1000; n++) yield `small-${n}`;
        for (let n = 0; n < 2000; n++) {
          yield 'large';
          yield `small-${n}`;
        }
      })(),
    );
    expect(counts.get('large')).toBeGreaterThan(1500);
    expect(counts.get(OTHER)).toBe(5000 - [...counts].reduce((sum, [label, n]) => sum + (label === OTHER ? 0 : n), 0));
    expect(counts.size).toBe(25 + 1 + 1);
  });
});

test('counters with known labels start at 0; parts that do not exist have no sample', async () => {
  const metrics = createMetrics();
  const before = await read(metrics);
  expect(before.types.size).toBeGreaterThan(15);
  expect([...namesIn(before)].sort()).toEqual([
    'lanyard_connections_dropped_total',
    'lanyard_introspections_total',
    'lanyard_log_lines_dropped_total',
    'lanyard_logins_total',
    'lanyard_logout_notices_total',
    'lanyard_prune_last_success_timestamp_seconds',
    'lanyard_refresh_token_reuses_total',
    'lanyard_token_replays_total',
  ]);

  metrics.watchPool('batch', { totalCount: 7, idleCount: 4, waitingCount: 2 }, 20);
  metrics.watchPasswords('users', () => ({ running: 2, waiting: 5 }));
  metrics.watchQueue('audit', () => 12);
  let isConnected = true;
  let heard = 0;
  metrics.watchChangeFeed({ isLive: () => isConnected, heard: () => heard });
  metrics.observeBatch('insert_artifacts', 3);
  metrics.cacheRequested('clients', 'hit');
  metrics.pruned('oidc_artifacts', 2000);
  metrics.pruneSucceeded(42);
  const after = await read(metrics);
  expect(after.value('lanyard_database_pool_busy', { pool: 'batch' })).toBe(3);
  expect(after.value('lanyard_database_pool_idle', { pool: 'batch' })).toBe(4);
  expect(after.value('lanyard_database_pool_waiting', { pool: 'batch' })).toBe(2);
  expect(after.value('lanyard_argon2_waiting', { queue: 'users' })).toBe(5);
  expect(after.value('lanyard_store_queue_depth', { queue: 'audit' })).toBe(12);
  expect(after.value('lanyard_change_feed_connected')).toBe(1);
  expect([...namesIn(after)]).toContain('lanyard_change_feed_notifications_total');
  expect(after.value('lanyard_store_batch_size_sum', { operation: 'insert_artifacts' })).toBe(3);
  expect(after.value('lanyard_cache_requests_total', { cache: 'clients', result: 'hit' })).toBe(1);
  expect(after.value('lanyard_prune_rows_total', { table: 'oidc_artifacts' })).toBe(2000);
  expect(after.value('lanyard_prune_lag_seconds')).toBe(42);
  const ageSeconds = Date.now() / 1000 - after.value('lanyard_prune_last_success_timestamp_seconds');
  expect(Math.abs(ageSeconds)).toBeLessThan(10);

  isConnected = false;
  heard = 1;
  const later = await read(metrics);
  expect(later.value('lanyard_change_feed_connected')).toBe(0);
  expect(later.value('lanyard_change_feed_notifications_total')).toBe(1);
});

test('no input makes the number of series unbounded, or loses a count', async () => {
  const metrics = createMetrics();
  for (let n = 0; n < 5000; n++) {
    const junk = `junk-${n}`;
    metrics.tokenIssued({ kind: junk, format: junk, gty: junk, clientId: junk });
    metrics.tokenReplayed(junk);
    metrics.tokenReplayed({ toString: () => junk });
    metrics.tokenRevoked({ kind: 'constructor' });
    metrics.refused('token', junk);
    metrics.refused(junk as 'token', 'invalid_grant');
    metrics.observeRequest(junk as 'token', n, 0.001);
    metrics.observeBatch(junk, n);
    metrics.cacheRequested(junk, 'hit');
    metrics.pruned(junk, 1);
    metrics.watchQueue(junk, () => 1);
  }
  const { samples, sum } = await read(metrics);
  expect(samples.length).toBeLessThan(1200);
  for (const name of ['tokens_issued_total', 'tokens_revoked_total', 'prune_rows_total', 'cache_requests_total']) {
    expect(sum(`lanyard_${name}`)).toBe(5000);
  }
  expect(sum('lanyard_refusals_total')).toBe(10_000);
  expect(sum('lanyard_http_request_duration_seconds_count')).toBe(5000);
});

test('a client id with special characters is one label', async () => {
  const clientId = 'quote " backslash \\ line\nbreak } , = é';
  const metrics = createMetrics();
  metrics.tokenIssued({ kind: 'RefreshToken', clientId, gty: 'authorization_code refresh_token' });
  expect((await read(metrics)).value('lanyard_tokens_issued_total', { client_id: clientId })).toBe(1);
});

test('metrics are off by default; an invalid setting stops the start', () => {
  expect(loadConfig({}).metrics).toEqual({ port: undefined, host: '127.0.0.1', isOnPublicPort: false });
  const env = { LANYARD_METRICS_PORT: '9464', LANYARD_METRICS_HOST: '::1', LANYARD_METRICS_ON_PUBLIC_PORT: 'true' };
  expect(loadConfig(env).metrics).toEqual({ port: 9464, host: '::1', isOnPublicPort: true });
  expect(() => loadConfig({ LANYARD_METRICS_PORT: '70000', LANYARD_METRICS_ON_PUBLIC_PORT: 'yes' })).toThrow(
    /LANYARD_METRICS_PORT must be between 0 and 65535\n.*LANYARD_METRICS_ON_PUBLIC_PORT must be true or false/,
  );
  expect(Object.isFrozen(loadConfig({}).metrics)).toBe(true);
});

test('docs/metrics.md names every value that a label may have', async () => {
  const docs = await readFile(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  for (const value of [...ENDPOINTS, ...ENDPOINT_LABELS, ...GRANT_TYPES, ...TOKEN_KINDS])
    expect(docs).toContain(`\`${value}\``);
});

test('docs/metrics.md lists every metric with its type, and no other', async () => {
  const docs = await readFile(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  const listed = [...docs.matchAll(/^\| `(lanyard_\w+)` +\| (\w+)/gm)].map(([, name, type]) => [name, type]);
  expect(listed.sort()).toEqual([...(await read(createMetrics())).types].sort());
});

test('two registries in one process do not share counts', async () => {
  const [one, two] = [createMetrics({ watchesProcess: true }), createMetrics({ watchesProcess: true })];
  one.loginAttempted('wrong');
  expect((await read(one)).value('lanyard_logins_total', { outcome: 'failed' })).toBe(1);
  expect((await read(two)).value('lanyard_logins_total', { outcome: 'failed' })).toBe(0);
});

test('paths have the names of their endpoints, whatever follows them', () => {
  const endpointOf = createEndpointFinder(ROUTES);
  const named = Object.fromEntries(
    [
      ...Object.values(ROUTES),
      '/oauth2/authorize/id',
      '/interaction/id/login',
      '/admin/v1/users',
      '/health/live',
      '/oauth2/register/id',
    ].map((path) => [path, endpointOf(path)]),
  );
  expect(named).toEqual({
    '/oauth2/authorize': 'authorization',
    '/oauth2/register/id': 'registration',
    '/oauth2/device': 'code_verification',
    '/oauth2/device_authorization': 'device_authorization',
    '/oauth2/par': 'pushed_authorization_request',
    '/oauth2/token': 'token',
    '/oauth2/introspect': 'introspection',
    '/oauth2/revoke': 'revocation',
    '/oauth2/userinfo': 'userinfo',
    '/oauth2/jwks': 'jwks',
    '/oauth2/logout': 'logout',
    '/oauth2/authorize/id': 'authorization',
    '/interaction/id/login': 'interaction',
    '/admin/v1/users': 'admin',
    '/health/live': 'health',
  });
  for (const path of ['', '/', '/__proto__', '/constructor', '/toString/x', '//admin', '/oauth2/token/', '/adminx']) {
    expect([path, endpointOf(path)]).toEqual([path, 'other']);
  }
});

test('metrics that cannot be read are a 500 without a body, and the reason is logged', async () => {
  const errors: unknown[] = [];
  const broken = new Error('hidden reason');
  const listener = createMetricsServer({ read: () => Promise.reject(broken), onError: (error) => errors.push(error) });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  try {
    const response = await fetch(`http://127.0.0.1:${(listener.address() as AddressInfo).port}/metrics`);
    expect([response.status, await response.text()]).toEqual([500, '']);
    expect(errors).toEqual([broken]);
  } finally {
    listener.close();
  }
});
