// The configuration: `loadConfig` turns the environment into one frozen value, or reports all
// faults at once. This folder owns the variables (variables.ts is the one table of them) and
// provides a Config; only main.ts reads the environment itself.
//
// A variable that is set to the empty string counts as not set. Secrets may be given as a file:
// LANYARD_SECRET_KEY_FILE=/run/secrets/key.

import { availableParallelism } from 'node:os';
import { parseValues, readTexts } from './sources.ts';
import type { LOG_LEVELS } from './values.ts';
import type { Values, VariableName } from './variables.ts';

export interface Config {
  readonly port: number;
  readonly host: string;
  /** the issuer identifier: scheme, host and port, without a trailing slash */
  readonly issuer: string;
  /** how many processes serve requests; 1: this one alone */
  readonly workers: number;
  /** how long a connection without a request is kept */
  readonly keepAliveSeconds: number;
  readonly dataDir: string;
  /** undefined: use the embedded database */
  readonly databaseUrl: string | undefined;
  readonly databasePoolSize: number;
  readonly databaseQueueSize: number;
  /** undefined only with the embedded database: then a file in the data directory holds it */
  readonly secretKey: string | undefined;
  /** the secret key before the last change */
  readonly previousSecretKey: string | undefined;
  readonly keySchedule: {
    /** undefined: signing keys are rotated only when an operator asks */
    readonly rotationDays: number | undefined;
    readonly publishAheadSeconds: number;
  };
  readonly adminClientSecret: string | undefined;
  /** addresses and CIDR ranges of the proxies whose X-Forwarded-* headers are used */
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
  /** undefined: audit events are kept forever */
  readonly auditRetentionDays: number | undefined;
  readonly loginThrottle: {
    readonly failuresPerAccount: number;
    readonly failuresPerAddress: number;
    readonly windowSeconds: number;
  };
  /** of what strangers cause */
  readonly limits: {
    /** wrong secrets of one client from one network address, in the window of logins */
    readonly clientSecretFailures: number;
    /** rows without a user and without an authenticated client, in a minute */
    readonly writesPerAddress: number;
    readonly writesPerClient: number;
    /** from one network address, when registration is open (RFC 7591 §5) */
    readonly registrationsPerHour: number;
  };
  readonly registration: {
    /** clients register without an initial access token */
    readonly isOpen: boolean;
    /** the hosts of client ID metadata documents; `*`: any */
    readonly metadataHosts: readonly string[];
    /** undefined: idle clients are not removed */
    readonly idleDays: number | undefined;
  };
  /** requests of this server to addresses that clients name */
  readonly outbound: {
    readonly allowedHosts: readonly string[];
    readonly proxy: string | undefined;
  };
  /** the TLS listener; undefined: none */
  readonly tls:
    | {
        readonly port: number;
        readonly certificateFile: string;
        readonly keyFile: string;
        /** the authorities of tls_client_auth */
        readonly clientAuthoritiesFile: string | undefined;
      }
    | undefined;
  readonly mutualTls: {
    /** in which a trusted proxy passes on the certificate of a client */
    readonly header: string | undefined;
    /** where clients present them, if not at the issuer */
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
  const config = toConfig(parseValues(texts, faults));
  faults.push(...contradictions((name) => texts.has(name), config));
  if (faults.length > 0) throw new ConfigError(faults);
  for (const part of Object.values(config)) Object.freeze(part);
  return Object.freeze(config);
}

function toConfig(values: Values): Config {
  const workers = values.LANYARD_WORKERS ?? (values.DATABASE_URL === undefined ? 1 : availableParallelism());
  return {
    port: values.LANYARD_PORT,
    host: values.LANYARD_HOST,
    issuer: values.LANYARD_ISSUER ?? `http://localhost:${values.LANYARD_PORT}`,
    workers,
    keepAliveSeconds: values.LANYARD_KEEP_ALIVE_TIMEOUT_SECONDS,
    dataDir: values.LANYARD_DATA_DIR,
    databaseUrl: values.DATABASE_URL,
    databasePoolSize: values.LANYARD_DATABASE_POOL_SIZE,
    databaseQueueSize: values.LANYARD_DATABASE_QUEUE_SIZE,
    secretKey: values.LANYARD_SECRET_KEY,
    previousSecretKey: values.LANYARD_SECRET_KEY_PREVIOUS,
    keySchedule: {
      rotationDays: values.LANYARD_KEY_ROTATION_DAYS || undefined,
      publishAheadSeconds: values.LANYARD_KEY_PUBLISH_AHEAD_HOURS * 3600,
    },
    adminClientSecret: values.LANYARD_ADMIN_CLIENT_SECRET,
    trustedProxies: values.LANYARD_TRUST_PROXY ?? [],
    logLevel: values.LANYARD_LOG_LEVEL,
    lifetimes: {
      authorizationCodeSeconds: values.LANYARD_AUTHORIZATION_CODE_TTL_SECONDS,
      accessTokenSeconds: values.LANYARD_ACCESS_TOKEN_TTL_SECONDS,
      idTokenSeconds: values.LANYARD_ID_TOKEN_TTL_SECONDS,
      refreshTokenSeconds: values.LANYARD_REFRESH_TOKEN_TTL_SECONDS,
      sessionSeconds: values.LANYARD_SESSION_TTL_SECONDS,
      interactionSeconds: values.LANYARD_INTERACTION_TTL_SECONDS,
    },
    auditRetentionDays: values.LANYARD_AUDIT_RETENTION_DAYS,
    loginThrottle: {
      failuresPerAccount: values.LANYARD_LOGIN_FAILURES_PER_ACCOUNT,
      failuresPerAddress: values.LANYARD_LOGIN_FAILURES_PER_ADDRESS,
      windowSeconds: values.LANYARD_LOGIN_WINDOW_SECONDS,
    },
    limits: {
      // Each worker has to check a right one once, and all of them may do so at the same time.
      clientSecretFailures: values.LANYARD_CLIENT_SECRET_FAILURES + workers - 1,
      writesPerAddress: values.LANYARD_ANONYMOUS_WRITES_PER_ADDRESS,
      writesPerClient: values.LANYARD_ANONYMOUS_WRITES_PER_CLIENT,
      registrationsPerHour: values.LANYARD_REGISTRATIONS_PER_HOUR,
    },
    registration: {
      isOpen: values.LANYARD_DANGER_OPEN_REGISTRATION,
      metadataHosts: values.LANYARD_CLIENT_METADATA_HOSTS ?? [],
      idleDays: values.LANYARD_SELF_REGISTERED_IDLE_DAYS,
    },
    outbound: {
      allowedHosts: values.LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS ?? [],
      proxy: values.LANYARD_OUTBOUND_PROXY,
    },
    tls: toTls(values),
    mutualTls: { header: values.LANYARD_CLIENT_CERTIFICATE_HEADER, origin: values.LANYARD_MTLS_ORIGIN },
    metrics: {
      port: values.LANYARD_METRICS_PORT,
      host: values.LANYARD_METRICS_HOST,
      isOnPublicPort: values.LANYARD_METRICS_ON_PUBLIC_PORT,
    },
  };
}

function toTls(values: Values): Config['tls'] {
  const { LANYARD_TLS_PORT: port, LANYARD_TLS_CERT_FILE: certificateFile, LANYARD_TLS_KEY_FILE: keyFile } = values;
  if (port === undefined || certificateFile === undefined || keyFile === undefined) return undefined;
  return { port, certificateFile, keyFile, clientAuthoritiesFile: values.LANYARD_TLS_CLIENT_CA_FILE };
}

/** What the variables must not say together. */
function contradictions(isSet: (name: VariableName) => boolean, { port }: Config): string[] {
  const faults: string[] = [];
  if (isSet('LANYARD_TLS_PORT') && !(isSet('LANYARD_TLS_CERT_FILE') && isSet('LANYARD_TLS_KEY_FILE'))) {
    faults.push('LANYARD_TLS_PORT needs LANYARD_TLS_CERT_FILE and LANYARD_TLS_KEY_FILE');
  }
  if (isSet('LANYARD_CLIENT_CERTIFICATE_HEADER') && !isSet('LANYARD_TRUST_PROXY')) {
    faults.push(
      'LANYARD_CLIENT_CERTIFICATE_HEADER needs LANYARD_TRUST_PROXY: only a trusted proxy may name the certificate of a client',
    );
  }
  const readsCertificates = isSet('LANYARD_TLS_PORT') || isSet('LANYARD_CLIENT_CERTIFICATE_HEADER');
  if (isSet('LANYARD_MTLS_ORIGIN') && !readsCertificates) {
    faults.push(
      'LANYARD_MTLS_ORIGIN needs LANYARD_TLS_PORT or LANYARD_CLIENT_CERTIFICATE_HEADER: without them no certificate is read',
    );
  }
  if (port === 0 && !isSet('LANYARD_ISSUER')) faults.push('LANYARD_PORT 0 needs LANYARD_ISSUER');
  if (isSet('DATABASE_URL') && !isSet('LANYARD_SECRET_KEY')) {
    faults.push(
      'LANYARD_SECRET_KEY (or LANYARD_SECRET_KEY_FILE) must be set when DATABASE_URL is: several servers may share that ' +
        'database and must share the key too. Make one: openssl rand -base64 48',
    );
  }
  return faults;
}
