// The variables of the server as a process: where it listens, its database, its secrets, TLS, log
// and metrics.

import {
  databaseUrl,
  filePath,
  headerName,
  host,
  httpsOrigin,
  integer,
  issuerUrl,
  LOG_LEVELS,
  logLevel,
  printableSecret,
  proxyList,
  secretKey,
  tcpPort,
  text,
  yesOrNo,
} from './values.ts';
import type { VariableTable } from './variable.ts';

const port = { schema: tcpPort, unit: 'TCP port' };
const address = { schema: host, unit: 'address' };
const pemFile = { schema: filePath, unit: 'path of a PEM file', whenUnset: 'none' };
const flag = { schema: yesOrNo, unit: 'true | false', default: 'false' };

export const LISTENER = {
  LANYARD_PORT: { ...port, default: '3000', text: 'The port the server listens on.' },
  LANYARD_HOST: {
    ...address,
    default: '127.0.0.1',
    text: 'The address the server listens on. In a container: 0.0.0.0.',
  },
  LANYARD_ISSUER: {
    schema: issuerUrl,
    unit: 'URL without a path',
    whenUnset: 'http://localhost:<LANYARD_PORT>',
    text: 'The public address of the server, and the `iss` of every token. Must be https, unless it is this machine.',
  },
  LANYARD_TRUST_PROXY: {
    schema: proxyList,
    unit: 'addresses or CIDR ranges, separated by commas',
    whenUnset: 'none',
    text: 'The proxies whose X-Forwarded-For and X-Forwarded-Host headers are used.',
  },
  LANYARD_WORKERS: {
    schema: integer(1, 1024),
    unit: 'processes',
    whenUnset: 'one per core with DATABASE_URL, else 1',
    text: 'How many processes serve requests. Each has a pool of LANYARD_DATABASE_POOL_SIZE connections of its own.',
  },
  LANYARD_KEEP_ALIVE_TIMEOUT_SECONDS: {
    schema: integer(1, 3600),
    unit: 'seconds',
    default: '75',
    text: 'How long a connection without a request is kept. Must be longer than a proxy or balancer in front keeps it.',
  },
} as const satisfies VariableTable;

export const DATABASE = {
  DATABASE_URL: {
    schema: databaseUrl,
    unit: 'postgres:// URL',
    whenUnset: 'embedded PostgreSQL in LANYARD_DATA_DIR',
    text: 'The PostgreSQL (14 or newer) to use instead of the embedded one.',
    isSecret: true,
  },
  LANYARD_DATA_DIR: {
    schema: text,
    unit: 'folder',
    default: './data',
    text: 'Where the embedded PostgreSQL and the generated secret key are kept. Not used with DATABASE_URL.',
  },
  LANYARD_DATABASE_POOL_SIZE: {
    schema: integer(2, 1000),
    unit: 'connections',
    default: '20',
    text: 'The maximum number of connections of one process to PostgreSQL; fewer where PostgreSQL allows fewer.',
  },
  LANYARD_DATABASE_QUEUE_SIZE: {
    schema: integer(1, 1_000_000),
    unit: 'requests',
    default: '5000',
    text: 'How many requests of one kind may wait for the database. Further ones get 503.',
  },
} as const satisfies VariableTable;

export const SECRETS = {
  LANYARD_SECRET_KEY: {
    schema: secretKey,
    unit: 'text, 32 characters or more',
    whenUnset: 'generated into LANYARD_DATA_DIR/secret-key',
    text: 'Seals the signing keys and signs the cookies. Required with DATABASE_URL. Make one: openssl rand -base64 48',
    isSecret: true,
  },
  LANYARD_SECRET_KEY_PREVIOUS: {
    schema: secretKey,
    unit: 'text, 32 characters or more',
    whenUnset: 'none',
    text:
      'The secret key before a change: the start seals again under the new key what was sealed under this one. ' +
      'Remove it after LANYARD_SESSION_TTL_SECONDS.',
    isSecret: true,
  },
  LANYARD_ADMIN_CLIENT_SECRET: {
    schema: printableSecret,
    unit: 'text, 16 to 256 characters',
    whenUnset: 'generated, printed once',
    text: 'The secret of the first admin client `lanyard-admin`. Read only when the first start creates that client.',
    isSecret: true,
  },
  LANYARD_KEY_ROTATION_DAYS: {
    schema: integer(0, 3650),
    unit: 'days',
    default: '90',
    text: 'The age at which a signing key is replaced by the next one. 0: only when an operator asks for it.',
  },
  LANYARD_KEY_PUBLISH_AHEAD_HOURS: {
    schema: integer(0, 720),
    unit: 'hours',
    default: '24',
    text: 'How long the next key is published before it signs. Must be longer than your APIs cache the key set.',
  },
} as const satisfies VariableTable;

export const TLS = {
  LANYARD_TLS_PORT: {
    ...port,
    whenUnset: 'none',
    text: 'A second listener with TLS. It asks clients for a certificate (RFC 8705), which they may leave out.',
  },
  LANYARD_TLS_CERT_FILE: {
    ...pemFile,
    text: 'The certificate of that listener, with its chain. Read again when the file changes.',
  },
  LANYARD_TLS_KEY_FILE: { ...pemFile, text: 'The private key of that listener.' },
  LANYARD_TLS_CLIENT_CA_FILE: {
    ...pemFile,
    text: 'The authorities whose certificates authenticate clients with tls_client_auth. Not set: no client can use it.',
  },
  LANYARD_CLIENT_CERTIFICATE_HEADER: {
    schema: headerName,
    unit: 'name of a header',
    whenUnset: 'none',
    text:
      'Where a proxy of LANYARD_TRUST_PROXY puts the certificate of a client. Whether the proxy verified it is in the ' +
      'header with the same name and -Verify.',
  },
  LANYARD_MTLS_ORIGIN: {
    schema: httpsOrigin,
    unit: 'https://host[:port]',
    whenUnset: 'none',
    text: 'Where clients with certificates reach this server, if not at the issuer. Published as mtls_endpoint_aliases.',
  },
} as const satisfies VariableTable;

export const OPERATIONS = {
  LANYARD_LOG_LEVEL: { schema: logLevel, unit: LOG_LEVELS.join(' | '), default: 'info', text: 'How much is logged.' },
  LANYARD_AUDIT_RETENTION_DAYS: {
    // The database keeps seven days in any case.
    schema: integer(7, 36_500),
    unit: 'days, 7 or more',
    whenUnset: 'kept forever',
    text: 'How long audit events are kept. Every token that is issued adds one.',
  },
  LANYARD_METRICS_PORT: {
    ...port,
    whenUnset: 'none',
    text: 'Serves GET /metrics on a listener of its own. Not set: there is no such listener.',
  },
  LANYARD_METRICS_HOST: {
    ...address,
    default: '127.0.0.1',
    text: 'The address of that listener. It has no authentication: allow only your collector to reach it.',
  },
  LANYARD_METRICS_ON_PUBLIC_PORT: {
    ...flag,
    text: 'Also serves GET /metrics at LANYARD_PORT. This exposes client ids publicly.',
  },
} as const satisfies VariableTable;
