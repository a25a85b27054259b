// The configuration is checked completely at start: no server is better than one with half of the
// settings that were meant.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { ConfigError, loadConfig } from '../../src/config/config.ts';
import { toPeerCheck } from '../../src/guard/peer-check.ts';

type Env = Record<string, string>;

const KEY = 'a secret key of more than 32 characters';
const DATABASE_URL = 'postgres://lanyard:hunter2hunter2@db.example/lanyard';

function faultsOf(env: Env): readonly string[] {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.faults;
    throw error;
  }
  return [];
}

describe('an empty environment', () => {
  test('is a complete configuration for this machine only', () => {
    expect(loadConfig({})).toMatchObject({
      port: 3000,
      host: '127.0.0.1',
      issuer: 'http://localhost:3000',
      dataDir: './data',
      databaseUrl: undefined,
      secretKey: undefined,
      trustedProxies: [],
      logLevel: 'info',
    });
  });

  test('variables of other programs are ignored', () => {
    expect(faultsOf({ PATH: '/bin', PORT: 'x', DATABASE_URLS: 'y' })).toEqual([]);
  });

  test('the result cannot be changed', () => {
    const config = loadConfig({});
    expect(() => Object.assign(config, { port: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.lifetimes, { accessTokenSeconds: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.loginThrottle, { windowSeconds: 1 })).toThrow(TypeError);
  });
});

test('the issuer follows the port', () => {
  expect(loadConfig({ LANYARD_PORT: '4000' }).issuer).toBe('http://localhost:4000');
});

test('an empty value counts as not set', () => {
  expect(loadConfig({ LANYARD_PORT: '', LANYARD_SECRET_KEY: '', LANYARD_SECRET_KEY_FILE: '' })).toEqual(loadConfig({}));
});

test('all faults are reported at once, each with the name of its variable', () => {
  const faults = faultsOf({
    LANYARD_PORT: 'eighty',
    LANYARD_ISSUER: 'ftp://id.example',
    LANYARD_LOG_LEVEL: 'loud',
    LANYARD_TRUST_PROXY: '10.0.0.0/8, everyone',
    LANYARD_ACCESS_TOKEN_TTL_SECONDS: '0',
    LANYARD_AUDIT_RETENTION_DAYS: '6',
    LANYARD_PROT: '3000',
  });
  expect(faults.map((fault) => fault.split(' ', 1)[0]).sort()).toEqual([
    'LANYARD_ACCESS_TOKEN_TTL_SECONDS',
    'LANYARD_AUDIT_RETENTION_DAYS',
    'LANYARD_ISSUER',
    'LANYARD_LOG_LEVEL',
    'LANYARD_PORT',
    'LANYARD_PROT',
    'LANYARD_TRUST_PROXY',
  ]);
});

test('a misspelt variable stops the start instead of being ignored', () => {
  expect(faultsOf({ LANYARD_SECRETKEY: KEY })).toEqual(['LANYARD_SECRETKEY is not a variable of Lanyard']);
  // Only secrets have a _FILE variant.
  expect(faultsOf({ LANYARD_PORT_FILE: '/port' })).toEqual(['LANYARD_PORT_FILE is not a variable of Lanyard']);
});

describe('secrets in files', () => {
  let dir: string;
  let path: (name: string, text: string) => Promise<string>;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'lanyard-config-'));
    path = async (name, text) => {
      await writeFile(join(dir, name), text);
      return join(dir, name);
    };
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  test('are read without the line break at their end', async () => {
    const config = loadConfig({
      DATABASE_URL_FILE: await path('url', `${DATABASE_URL}\n`),
      LANYARD_SECRET_KEY_FILE: await path('key', `${KEY}\r\n`),
      LANYARD_ADMIN_CLIENT_SECRET_FILE: await path('admin', ' with spaces around it '),
    });
    expect(config).toMatchObject({
      databaseUrl: DATABASE_URL,
      secretKey: KEY,
      adminClientSecret: ' with spaces around it ',
    });
  });

  test('are refused beside the variable itself: which one is meant would be a guess', async () => {
    const env = { LANYARD_SECRET_KEY: KEY, LANYARD_SECRET_KEY_FILE: await path('key', KEY) };
    expect(faultsOf(env)).toEqual(['LANYARD_SECRET_KEY and LANYARD_SECRET_KEY_FILE are both set: choose one']);
  });

  test('are refused when the file is missing: no secret is generated instead', () => {
    expect(faultsOf({ LANYARD_SECRET_KEY_FILE: join(dir, 'missing') })).toEqual([
      'LANYARD_SECRET_KEY_FILE cannot be read: ENOENT',
    ]);
  });

  test('are checked like the variable itself', async () => {
    const [fault, ...others] = faultsOf({ LANYARD_SECRET_KEY_FILE: await path('short', 'short\n') });
    expect(fault).toMatch(/^LANYARD_SECRET_KEY must have 32 characters/);
    expect(others).toEqual([]);
  });

  test('are refused when the file is empty: a secret that was not mounted must not be replaced by a generated one', async () => {
    expect(faultsOf({ LANYARD_SECRET_KEY_FILE: await path('empty', '\n') })).not.toEqual([]);
    expect(faultsOf({ LANYARD_ADMIN_CLIENT_SECRET_FILE: await path('empty', '') })).not.toEqual([]);
    expect(faultsOf({ DATABASE_URL_FILE: await path('empty', '') })).not.toEqual([]);
  });
});

describe('mutual TLS', () => {
  test('an origin for certificates needs a listener or a header that reads them, or the discovery document would be wrong', () => {
    const origin = { LANYARD_MTLS_ORIGIN: 'https://mtls.id.example' };
    expect(faultsOf(origin)).toEqual([expect.stringMatching(/^LANYARD_MTLS_ORIGIN needs LANYARD_TLS_PORT or /)]);
    const files = { LANYARD_TLS_CERT_FILE: 'a', LANYARD_TLS_KEY_FILE: 'b' };
    expect(faultsOf({ ...origin, ...files, LANYARD_TLS_PORT: '8443' })).toEqual([]);
    const header = { LANYARD_CLIENT_CERTIFICATE_HEADER: 'X-Client-Cert' };
    expect(faultsOf({ ...origin, ...header, LANYARD_TRUST_PROXY: '127.0.0.1' })).toEqual([]);
  });

  test('a header for certificates needs a trusted proxy: any other client could present any certificate', () => {
    const faults = faultsOf({ LANYARD_CLIENT_CERTIFICATE_HEADER: 'X-Client-Cert' });
    expect(faults).toEqual([expect.stringMatching(/^LANYARD_CLIENT_CERTIFICATE_HEADER needs LANYARD_TRUST_PROXY/)]);
  });

  test('a listener needs a certificate and its key', () => {
    expect(faultsOf({ LANYARD_TLS_PORT: '8443' })).toEqual([
      'LANYARD_TLS_PORT needs LANYARD_TLS_CERT_FILE and LANYARD_TLS_KEY_FILE',
    ]);
  });
});

describe('an external database', () => {
  test('needs a secret key, because all servers that share it must share the key', () => {
    const [fault, ...others] = faultsOf({ DATABASE_URL });
    expect(fault).toMatch(/^LANYARD_SECRET_KEY .*must be set/);
    expect(others).toEqual([]);
    expect(faultsOf({ DATABASE_URL, LANYARD_SECRET_KEY: KEY })).toEqual([]);
  });

  test.each(['mysql://db.example/lanyard', 'db.example/lanyard'])('%s is refused', (url) => {
    const faults = faultsOf({ DATABASE_URL: url, LANYARD_SECRET_KEY: KEY });
    expect(faults).toEqual(['DATABASE_URL must be a postgres:// URL']);
  });

  test.each([
    'postgres://lanyard:hunter2hunter2@/lanyard?host=/run/postgresql',
    'postgres://lanyard:hunter2hunter2@/lanyard?host=/run/postgresql&port=5433',
    'postgres://%2Frun%2Fpostgresql/lanyard?user=lanyard',
    'postgresql:///lanyard?host=db.example&user=lanyard',
  ])('%s is taken, as libpq takes it', (url) => {
    expect(faultsOf({ DATABASE_URL: url, LANYARD_SECRET_KEY: KEY })).toEqual([]);
  });

  test.each([
    ['postgres://u:hunter2hunter2@one.example,two.example/x', 'must name one host'],
    ['postgres://u:hunter2hunter2@db.example/x?port=65536', 'must name a port from 1 to 65535'],
    ['postgres://u:hunter2hunter2@db.example:99999/x', 'must be a postgres:// URL'],
    ['postgres://u:hunter2hunter2@db/x?sslkey=/missing', 'names a file that cannot be read: /missing (ENOENT)'],
  ])('%s is refused', (url, fault) => {
    expect(faultsOf({ DATABASE_URL: url, LANYARD_SECRET_KEY: KEY })).toEqual([`DATABASE_URL ${fault}`]);
  });
});

describe('the issuer', () => {
  // RFC 8414 §2: https, no query, no fragment. With plain http anyone on the network path reads
  // codes and tokens.
  test.each([
    'http://id.example',
    'http://192.168.1.10:3000',
    'http://localhost.example',
    'http://127.0.0.1.example',
    'https://id.example/',
    'https://id.example/path',
    'https://id.example?tenant=1',
    'https://id.example#top',
    'https://user@id.example',
    'https://id.example:443',
    'https://ID.example',
    'javascript:alert(1)',
    'id.example',
  ])('%s is refused', (issuer) => {
    expect(faultsOf({ LANYARD_ISSUER: issuer }).map((fault) => fault.split(' ', 1)[0])).toEqual(['LANYARD_ISSUER']);
  });

  test.each([
    'https://id.example',
    'https://id.example:8443',
    'http://localhost:3000',
    'http://127.0.0.1:3000',
    'http://[::1]:3000',
  ])('%s is accepted', (issuer) => {
    expect(loadConfig({ LANYARD_ISSUER: issuer }).issuer).toBe(issuer);
  });

  test('must be given when the port is chosen by the system', () => {
    expect(faultsOf({ LANYARD_PORT: '0' })).toEqual(['LANYARD_PORT 0 needs LANYARD_ISSUER']);
  });
});

describe('numbers', () => {
  test.each([
    ['LANYARD_PORT', '65536'],
    ['LANYARD_PORT', '-1'],
    ['LANYARD_PORT', '3e3'],
    ['LANYARD_PORT', ' 3000'],
    ['LANYARD_DATABASE_POOL_SIZE', '1'],
    ['LANYARD_ACCESS_TOKEN_TTL_SECONDS', '600s'],
    ['LANYARD_ACCESS_TOKEN_TTL_SECONDS', '10.5'],
    // RFC 6749 §4.1.2: ten minutes at most
    ['LANYARD_AUTHORIZATION_CODE_TTL_SECONDS', '601'],
    ['LANYARD_LOGIN_FAILURES_PER_ACCOUNT', '0'],
    ['LANYARD_CLIENT_SECRET_FAILURES', '0'],
    ['LANYARD_ANONYMOUS_WRITES_PER_ADDRESS', '0'],
    ['LANYARD_ANONYMOUS_WRITES_PER_CLIENT', 'none'],
    ['LANYARD_REGISTRATIONS_PER_HOUR', '1000001'],
  ])('%s=%s is refused', (name, value) => {
    const faults = faultsOf({ [name]: value });
    expect(faults.length).toBeGreaterThan(0);
    expect(faults.every((fault) => fault.startsWith(`${name} `))).toBe(true);
  });
});

describe('trusted proxies', () => {
  test.each([
    '10.0.0.0/33',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    'proxy.internal',
    '::1/129',
    '10.0.0.1,,10.0.0.2',
    // 10.0.0.1 to some parsers, refused by others
    '10.1',
    '10.1/8',
    '012.0.0.1',
    '0x0a.0.0.1',
    // the zone of a link-local address names an interface of this machine
    'fe80::1%eth0',
    'fe80::1%eth0/64',
  ])('%s is refused', (value) => {
    expect(faultsOf({ LANYARD_TRUST_PROXY: value })).not.toEqual([]);
  });

  test('are addresses and ranges of both families', () => {
    const { trustedProxies } = loadConfig({ LANYARD_TRUST_PROXY: '10.0.0.0/8, 192.0.2.1 , fd00::/8' });
    const isTrusted = toPeerCheck(trustedProxies);
    expect(isTrusted('10.1.2.3')).toBe(true);
    expect(isTrusted('192.0.2.1')).toBe(true);
    expect(isTrusted('192.0.2.2')).toBe(false);
    expect(isTrusted('::ffff:10.1.2.3')).toBe(true);
    for (const none of ['', 'unix', 'fe80::1%eth0']) expect(isTrusted(none)).toBe(false);
    expect(isTrusted('fd12::1')).toBe(true);
    expect(isTrusted('2001:db8::1')).toBe(false);
  });
});

test('an error never repeats a value: the log of a failed start must hold no secret', () => {
  const secrets: Env = {
    LANYARD_SECRET_KEY: 'too-short-secret',
    LANYARD_ADMIN_CLIENT_SECRET: 'naïve-admin-secret-value',
    DATABASE_URL: 'mysql://lanyard:hunter2hunter2@db.example/lanyard',
    LANYARD_ISSUER: 'https://user:pass-in-the-url@id.example',
    LANYARD_SECRET: 'value-of-a-misspelt-variable',
  };
  const error = (() => {
    try {
      return loadConfig(secrets);
    } catch (thrown) {
      return thrown as ConfigError;
    }
  })();
  expect(error).toBeInstanceOf(ConfigError);
  const told = `${error} ${JSON.stringify(error)} ${(error as ConfigError).stack} ${(error as ConfigError).faults}`;
  for (const name of Object.keys(secrets)) expect(told).toContain(name);
  for (const value of Object.values(secrets)) expect(told).not.toContain(value);
  expect(told).not.toMatch(/hunter2|pass-in-the-url/);
});
