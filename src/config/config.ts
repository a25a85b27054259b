// The configuration: `loadConfig` turns the environment into one frozen value or reports all faults at once. Nobody else reads a
// variable by name; which there are, config-variables lists.
//
// A variable set to the empty string counts as unset. Secrets may be given as a file: LANYARD_SECRET_KEY_FILE=/run/secrets/key.

import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { readTexts } from './sources.ts';
import {
  databaseUrl,
  headerName,
  hostList,
  httpsOrigin,
  integer,
  issuerUrl,
  proxyList,
  proxyUrl,
  yesOrNo,
} from './values.ts';
import { LOG_LEVELS, type VariableName } from './variables.ts';

export interface Config {
  readonly port: number;
  readonly host: string;
  /** the issuer identifier: scheme, host and port, without a trailing slash */
  readonly issuer: string;
  /** processes that answer; 1: this one */
  readonly workers: number;
  readonly dataDir: string;
  /** undefined: use the embedded database */
  readonly databaseUrl: string | undefined;
  readonly databasePoolSize: number;
  readonly databaseQueueSize: number;
  /** undefined only with the embedded database: then a file in the data directory holds it */
  readonly secretKey: string | undefined;
  /** what the secret key was before */
  readonly previousSecretKey: string | undefined;
  readonly keySchedule: {
    /** undefined: signing keys are rotated by hand only */
    readonly rotationDays: number | undefined;
    readonly publishAheadSeconds: number;
  };
  readonly adminClientSecret: string | undefined;
  /** addresses and CIDR ranges of the proxies whose X-Forwarded-* headers count */
  readonly trustedProxies: readonly string[];
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly lifetimes: {
    readonly authorizationCodeSeconds: number;
    readonly accessTokenSeconds: number;
    readonly idTokenSeconds: number;
    readonly refreshTokenSeconds: number;
    readonly sessionSeconds: number;
    readonly interactionSeconds: number;
  };
  /** undefined: audit events are kept for ever */
  readonly auditRetentionDays: number | undefined;
  readonly loginThrottle: {
    readonly failuresPerAccount: number;
    readonly failuresPerAddress: number;
    readonly windowSeconds: number;
  };
  readonly registration: {
    /** anybody may register software */
    readonly isOpen: boolean;
    /** of client ID metadata documents; `*`: any */
    readonly metadataHosts: readonly string[];
    /** undefined: idle software stays */
    readonly idleDays: number | undefined;
  };
  /** requests of ours to addresses that clients name */
  readonly outbound: {
    readonly allowedHosts: readonly string[];
    readonly proxy: string | undefined;
  };
  /** our own TLS listener; undefined: none */
  readonly tls:
    | {
        readonly port: number;
        readonly certificateFile: string;
        readonly keyFile: string;
        /** of the authorities of tls_client_auth */
        readonly clientAuthoritiesFile: string | undefined;
      }
    | undefined;
  readonly mutualTls: {
    /** in which a trusted proxy hands certificates of clients on */
    readonly header: string | undefined;
    /** where clients present them, when that is not the issuer */
    readonly origin: string | undefined;
  };
  readonly metrics: {
    /** undefined: no listener */
    readonly port: number | undefined;
    readonly host: string;
    readonly isOnPublicPort: boolean;
  };
}

/** All faults of the configuration in one message. */
export class ConfigError extends Error {
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(`The configuration is faulty:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`);
    this.name = 'ConfigError';
    this.faults = faults;
  }
}

/**
 * Reads the configuration.
 * @param env the environment, e.g. `process.env`
 * @throws ConfigError naming every faulty or unknown variable
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const faults: string[] = [];
  const texts = readTexts(env, faults);

  function read<T>(name: VariableName, schema: z.ZodType<T, string>): T | undefined {
    const text = texts.get(name);
    if (text === undefined) return undefined;
    const parsed = schema.safeParse(text);
    if (parsed.success) return parsed.data;
    // Never the value itself: it may be a secret.
    faults.push(...parsed.error.issues.map((issue) => `${name} ${issue.message}`));
    return undefined;
  }
  const seconds = (name: VariableName, fallback: number) => read(name, integer(1, 10 * 365 * 86_400)) ?? fallback;
  const count = (name: VariableName, fallback: number) => read(name, integer(1, 1_000_000)) ?? fallback;

  function readTls(): Config['tls'] {
    const path = z.string().min(1);
    const tlsPort = read('LANYARD_TLS_PORT', integer(0, 65_535));
    const certificateFile = read('LANYARD_TLS_CERT_FILE', path);
    const keyFile = read('LANYARD_TLS_KEY_FILE', path);
    const clientAuthoritiesFile = read('LANYARD_TLS_CLIENT_CA_FILE', path);
    if (tlsPort === undefined) return undefined;
    if (certificateFile !== undefined && keyFile !== undefined) {
      return { port: tlsPort, certificateFile, keyFile, clientAuthoritiesFile };
    }
    faults.push('LANYARD_TLS_PORT needs LANYARD_TLS_CERT_FILE and LANYARD_TLS_KEY_FILE');
    return undefined;
  }

  const port = read('LANYARD_PORT', integer(0, 65_535)) ?? 3000;
  const config: Config = {
    port,
    host: read('LANYARD_HOST', z.string().min(1)) ?? '127.0.0.1',
    issuer: read('LANYARD_ISSUER', issuerUrl) ?? `http://localhost:${port}`,
    workers: read('LANYARD_WORKERS', integer(1, 1024)) ?? (texts.has('DATABASE_URL') ? availableParallelism() : 1),
    dataDir: read('LANYARD_DATA_DIR', z.string()) ?? './data',
    databaseUrl: read('DATABASE_URL', databaseUrl),
    databasePoolSize: read('LANYARD_DATABASE_POOL_SIZE', integer(2, 1000)) ?? 20,
    databaseQueueSize: read('LANYARD_DATABASE_QUEUE_SIZE', integer(1, 1_000_000)) ?? 5_000,
    secretKey: read('LANYARD_SECRET_KEY', z.string().min(32, 'must have 32 characters or more')),
    previousSecretKey: read('LANYARD_SECRET_KEY_PREVIOUS', z.string().min(32, 'must have 32 characters or more')),
    keySchedule: {
      rotationDays: (read('LANYARD_KEY_ROTATION_DAYS', integer(0, 3650)) ?? 90) || undefined,
      publishAheadSeconds: (read('LANYARD_KEY_PUBLISH_AHEAD_HOURS', integer(0, 720)) ?? 24) * 3600,
    },
    adminClientSecret: read(
      'LANYARD_ADMIN_CLIENT_SECRET',
      z.string().regex(/^[\x20-\x7e]{16,256}$/, 'must be 16 to 256 printable ASCII characters'),
    ),
    trustedProxies: read('LANYARD_TRUST_PROXY', proxyList) ?? [],
    logLevel: read('LANYARD_LOG_LEVEL', z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`)) ?? 'info',
    lifetimes: {
      // RFC 6749 §4.1.2 allows ten minutes at most; a client that works needs seconds.
      authorizationCodeSeconds: read('LANYARD_AUTHORIZATION_CODE_TTL_SECONDS', integer(1, 600)) ?? 60,
      // Short, because a resource server that verifies JWTs by itself sees no revocation before they expire.
      accessTokenSeconds: seconds('LANYARD_ACCESS_TOKEN_TTL_SECONDS', 600),
      idTokenSeconds: seconds('LANYARD_ID_TOKEN_TTL_SECONDS', 3600),
      refreshTokenSeconds: seconds('LANYARD_REFRESH_TOKEN_TTL_SECONDS', 14 * 86_400),
      sessionSeconds: seconds('LANYARD_SESSION_TTL_SECONDS', 14 * 86_400),
      interactionSeconds: seconds('LANYARD_INTERACTION_TTL_SECONDS', 3600),
    },
    // The schema keeps seven days in any case.
    auditRetentionDays: read('LANYARD_AUDIT_RETENTION_DAYS', integer(7, 36_500)),
    loginThrottle: {
      failuresPerAccount: count('LANYARD_LOGIN_FAILURES_PER_ACCOUNT', 10),
      failuresPerAddress: count('LANYARD_LOGIN_FAILURES_PER_ADDRESS', 100),
      windowSeconds: seconds('LANYARD_LOGIN_WINDOW_SECONDS', 900),
    },
    registration: {
      isOpen: read('LANYARD_DANGER_OPEN_REGISTRATION', yesOrNo) ?? false,
      metadataHosts:
        read(
          'LANYARD_CLIENT_METADATA_HOSTS',
          z
            .literal('*')
            .transform((all) => [all])
            .or(hostList),
        ) ?? [],
      idleDays: read('LANYARD_SELF_REGISTERED_IDLE_DAYS', integer(1, 3650)),
    },
    outbound: {
      allowedHosts: read('LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS', hostList) ?? [],
      proxy: read('LANYARD_OUTBOUND_PROXY', proxyUrl),
    },
    tls: readTls(),
    mutualTls: {
      header: read('LANYARD_CLIENT_CERTIFICATE_HEADER', headerName),
      origin: read('LANYARD_MTLS_ORIGIN', httpsOrigin),
    },
    metrics: {
      port: read('LANYARD_METRICS_PORT', integer(0, 65_535)),
      host: read('LANYARD_METRICS_HOST', z.string().min(1)) ?? '127.0.0.1',
      isOnPublicPort: read('LANYARD_METRICS_ON_PUBLIC_PORT', yesOrNo) ?? false,
    },
  };
  if (config.mutualTls.header !== undefined && config.trustedProxies.length === 0) {
    faults.push(
      'LANYARD_CLIENT_CERTIFICATE_HEADER needs LANYARD_TRUST_PROXY: nobody else may say whose certificate it is',
    );
  }
  if (
    config.mutualTls.origin !== undefined &&
    config.mutualTls.header === undefined &&
    !texts.has('LANYARD_TLS_PORT')
  ) {
    faults.push(
      'LANYARD_MTLS_ORIGIN needs LANYARD_TLS_PORT or LANYARD_CLIENT_CERTIFICATE_HEADER: nobody reads one there',
    );
  }
  if (config.port === 0 && !texts.has('LANYARD_ISSUER')) faults.push('LANYARD_PORT 0 needs LANYARD_ISSUER');
  if (texts.has('DATABASE_URL') && !texts.has('LANYARD_SECRET_KEY')) {
    faults.push(
      'LANYARD_SECRET_KEY (or LANYARD_SECRET_KEY_FILE) must be set when DATABASE_URL is: several servers may share that ' +
        'database and must share the key too. Make one: openssl rand -base64 48',
    );
  }
  if (faults.length > 0) throw new ConfigError(faults);
  for (const part of Object.values(config)) Object.freeze(part);
  return Object.freeze(config);
}
