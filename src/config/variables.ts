// Every variable of the configuration, its unit and default. `.env.example` and the table in the README are held equal to this by
// a test.

export interface Variable {
  readonly name: string;
  readonly default: string;
  readonly unit: string;
  readonly description: string;
  /** may also be given as `<name>_FILE` */
  readonly isSecret?: true;
}

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

/** Every variable, in the order in which `.env.example` lists them. */
export const VARIABLES = [
  { name: 'LANYARD_PORT', default: '3000', unit: 'TCP port', description: 'Where the server listens.' },
  {
    name: 'LANYARD_HOST',
    default: '127.0.0.1',
    unit: 'address',
    description: 'The address the server listens on. In a container: 0.0.0.0.',
  },
  {
    name: 'LANYARD_ISSUER',
    default: 'http://localhost:<LANYARD_PORT>',
    unit: 'URL without a path',
    description: 'The public address of the server and the `iss` of every token. https, unless it is this machine.',
  },
  {
    name: 'LANYARD_WORKERS',
    default: '(one per core with DATABASE_URL, else 1)',
    unit: 'processes',
    description: 'How many processes answer. Each has a pool of LANYARD_DATABASE_POOL_SIZE connections of its own.',
  },
  {
    name: 'LANYARD_DATA_DIR',
    default: './data',
    unit: 'folder',
    description: 'Where the embedded PostgreSQL and the generated secret key live. Unused with DATABASE_URL.',
  },
  {
    name: 'DATABASE_URL',
    default: '(embedded PostgreSQL in LANYARD_DATA_DIR)',
    unit: 'postgres:// URL',
    description: 'The PostgreSQL (14 or newer) to use instead of the embedded one.',
    isSecret: true,
  },
  {
    name: 'LANYARD_DATABASE_POOL_SIZE',
    default: '20',
    unit: 'connections',
    description: 'How many connections the server holds to PostgreSQL at most.',
  },
  {
    name: 'LANYARD_DATABASE_QUEUE_SIZE',
    default: '5000',
    unit: 'requests',
    description: 'How many requests of one kind may wait for the database; beyond it they are answered 503.',
  },
  {
    name: 'LANYARD_SECRET_KEY',
    default: '(generated into LANYARD_DATA_DIR/secret-key)',
    unit: 'text, 32 characters or more',
    description:
      'Seals the signing keys and signs the cookies. Required with DATABASE_URL. Make one: openssl rand -base64 48',
    isSecret: true,
  },
  {
    name: 'LANYARD_SECRET_KEY_PREVIOUS',
    default: '(none)',
    unit: 'text, 32 characters or more',
    description:
      'What LANYARD_SECRET_KEY was before: what was sealed under that is sealed anew at the start. To be taken away after LANYARD_SESSION_TTL_SECONDS.',
    isSecret: true,
  },
  {
    name: 'LANYARD_KEY_ROTATION_DAYS',
    default: '90',
    unit: 'days',
    description: 'How old a signing key becomes before the next one takes over. 0: only when an operator says so.',
  },
  {
    name: 'LANYARD_KEY_PUBLISH_AHEAD_HOURS',
    default: '24',
    unit: 'hours',
    description: 'How long the next key is published before it signs. Longer than your APIs keep the key set.',
  },
  {
    name: 'LANYARD_ADMIN_CLIENT_SECRET',
    default: '(generated, printed once)',
    unit: 'text, 16 to 256 characters',
    description:
      'The secret of the first admin client `lanyard-admin`, read only when that client is created at the first start.',
    isSecret: true,
  },
  {
    name: 'LANYARD_TRUST_PROXY',
    default: '(nobody)',
    unit: 'addresses or CIDR ranges, separated by commas',
    description: 'The proxies whose X-Forwarded-For, -Proto and -Host headers count.',
  },
  { name: 'LANYARD_LOG_LEVEL', default: 'info', unit: LOG_LEVELS.join(' | '), description: 'How much is logged.' },
  {
    name: 'LANYARD_AUTHORIZATION_CODE_TTL_SECONDS',
    default: '60',
    unit: 'seconds',
    description: 'How long an authorization code may be exchanged.',
  },
  {
    name: 'LANYARD_ACCESS_TOKEN_TTL_SECONDS',
    default: '600',
    unit: 'seconds',
    description: 'Lifetime of access tokens, unless the resource server sets its own.',
  },
  { name: 'LANYARD_ID_TOKEN_TTL_SECONDS', default: '3600', unit: 'seconds', description: 'Lifetime of ID tokens.' },
  {
    name: 'LANYARD_REFRESH_TOKEN_TTL_SECONDS',
    default: '1209600',
    unit: 'seconds',
    description: 'Lifetime of refresh tokens and of the grant behind them.',
  },
  {
    name: 'LANYARD_SESSION_TTL_SECONDS',
    default: '1209600',
    unit: 'seconds',
    description: 'How long a browser stays signed in.',
  },
  {
    name: 'LANYARD_INTERACTION_TTL_SECONDS',
    default: '3600',
    unit: 'seconds',
    description: 'How long a login or consent page may stay open.',
  },
  {
    name: 'LANYARD_AUDIT_RETENTION_DAYS',
    default: '(for ever)',
    unit: 'days, 7 or more',
    description: 'How long audit events are kept. Each token that is issued leaves one.',
  },
  {
    name: 'LANYARD_LOGIN_FAILURES_PER_ACCOUNT',
    default: '10',
    unit: 'failed logins per window',
    description: 'More than that and the account refuses passwords until the window has passed.',
  },
  {
    name: 'LANYARD_LOGIN_FAILURES_PER_ADDRESS',
    default: '100',
    unit: 'failed logins per window',
    description: 'The same for one network address (IPv6: one /64).',
  },
  {
    name: 'LANYARD_LOGIN_WINDOW_SECONDS',
    default: '900',
    unit: 'seconds',
    description: 'The window in which failed logins are counted.',
  },
  {
    name: 'LANYARD_DANGER_OPEN_REGISTRATION',
    default: 'false',
    unit: 'true | false',
    description: 'Lets anybody register software at /oauth2/register without an initial access token.',
  },
  {
    name: 'LANYARD_CLIENT_METADATA_HOSTS',
    default: '(none)',
    unit: 'hosts or host:port separated by commas, or *',
    description: 'The hosts whose client ID metadata documents are taken for clients: their client_id is an https URL.',
  },
  {
    name: 'LANYARD_SELF_REGISTERED_IDLE_DAYS',
    default: '(never)',
    unit: 'days',
    description:
      'Removes software that registered itself when it got no token for so long. Look first: GET /admin/v1/idle-clients.',
  },
  {
    name: 'LANYARD_OUTBOUND_PROXY',
    default: '(none)',
    unit: 'http(s) URL',
    description: 'The proxy through which the server fetches what clients point to (jwks_uri and the like).',
    isSecret: true,
  },
  {
    name: 'LANYARD_DANGER_ALLOW_OUTBOUND_HOSTS',
    default: '(none)',
    unit: 'hosts or host:port, separated by commas',
    description:
      'Hosts that may be fetched from although they are not on the public internet, over plain http too. For tests and closed networks.',
  },
  {
    name: 'LANYARD_TLS_PORT',
    default: '(none)',
    unit: 'TCP port',
    description:
      'A second listener, with TLS, which asks clients for a certificate (RFC 8705) and lets in whoever has none.',
  },
  {
    name: 'LANYARD_TLS_CERT_FILE',
    default: '(none)',
    unit: 'path of a PEM file',
    description: 'Its certificate, with its chain. Read again when it changes.',
  },
  { name: 'LANYARD_TLS_KEY_FILE', default: '(none)', unit: 'path of a PEM file', description: 'Its private key.' },
  {
    name: 'LANYARD_TLS_CLIENT_CA_FILE',
    default: '(none)',
    unit: 'path of a PEM file',
    description:
      'The authorities whose certificates authenticate clients with tls_client_auth. Not set: nobody authenticates so.',
  },
  {
    name: 'LANYARD_CLIENT_CERTIFICATE_HEADER',
    default: '(none)',
    unit: 'name of a header',
    description:
      'Where a proxy of LANYARD_TRUST_PROXY puts the certificate of a client; whether it verified it stands in the header with the same name and -Verify.',
  },
  {
    name: 'LANYARD_MTLS_ORIGIN',
    default: '(none)',
    unit: 'https://host[:port]',
    description:
      'Where clients with certificates reach this server, if that is not the issuer: published as mtls_endpoint_aliases.',
  },
  {
    name: 'LANYARD_METRICS_PORT',
    default: '(none)',
    unit: 'TCP port',
    description: 'Where GET /metrics answers, on a listener of its own. Not set: nowhere.',
  },
  {
    name: 'LANYARD_METRICS_HOST',
    default: '127.0.0.1',
    unit: 'address',
    description: 'The address of that listener. It asks nobody for a password: let only your collector reach it.',
  },
  {
    name: 'LANYARD_METRICS_ON_PUBLIC_PORT',
    default: 'false',
    unit: 'true | false',
    description: 'Also answers GET /metrics at LANYARD_PORT, and so tells the ids of your clients to everybody.',
  },
] as const satisfies readonly Variable[];

export type VariableName = (typeof VARIABLES)[number]['name'];
