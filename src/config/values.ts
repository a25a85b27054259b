// The kinds of values in the configuration. Each schema turns the text of a variable into its
// value, or says what is wrong with it.

import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import pg from 'pg';
import { z } from 'zod';

const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);
const TEN_YEARS_SECONDS = 10 * 365 * 86_400;

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;

export const text = z.string();
export const host = z.string().min(1);
export const filePath = z.string().min(1);

export const integer = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, `must be between ${minimum} and ${maximum}`);

export const tcpPort = integer(0, 65_535);
export const seconds = integer(1, TEN_YEARS_SECONDS);
export const count = integer(1, 1_000_000);

export const yesOrNo = z.enum(['true', 'false'], 'must be true or false').transform((value) => value === 'true');

export const logLevel = z.enum(LOG_LEVELS, `must be one of ${LOG_LEVELS.join(', ')}`);

export const secretKey = z.string().min(32, 'must have 32 characters or more');

export const printableSecret = z
  .string()
  .regex(/^[\x20-\x7e]{16,256}$/, 'must be 16 to 256 printable ASCII characters');

export const issuerUrl = z.string().superRefine((value, context) => {
  const url = URL.parse(value);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    context.addIssue('must be an https URL');
  } else if (url.origin !== value) {
    context.addIssue('must be scheme, host and port only: no path, no trailing slash, no user, no default port');
  } else if (url.protocol === 'http:' && !LOOPBACK_HOSTS.has(url.hostname)) {
    // RFC 8414 §2: the issuer is an https URL. Plain http is for development on this machine only.
    context.addIssue('must be https, unless the host is localhost, 127.0.0.1 or [::1]');
  }
});

/** As `pg` reads it: `postgres://user@/database?host=/run/postgresql` is one too, which no other parser of URLs takes. */
export const databaseUrl = z.string().superRefine((value, context) => {
  const fault = /^postgres(ql)?:\/\//.test(value) ? faultOfDatabaseUrl(value) : 'must be a postgres:// URL';
  if (fault !== undefined) context.addIssue(fault);
});

/** Without a part of the URL: it holds a password. */
function faultOfDatabaseUrl(connectionString: string): string | undefined {
  try {
    const { host, port } = new pg.Client({ connectionString });
    if (host.includes(',')) return 'must name one host';
    return port > 0 && port <= 65_535 ? undefined : 'must name a port from 1 to 65535';
  } catch (error) {
    const { code, path } = error as NodeJS.ErrnoException;
    return path === undefined ? 'must be a postgres:// URL' : `names a file that cannot be read: ${path} (${code})`;
  }
}

export const proxyList = z
  .string()
  .transform((value) => value.split(',').map((entry) => entry.trim()))
  .superRefine((entries, context) => {
    for (const entry of entries) {
      if (!isAddressOrRange(entry)) context.addIssue(`"${entry}" is not an IP address or CIDR range`);
    }
  });

function isAddressOrRange(entry: string): boolean {
  // ipaddr.js also takes octal and shortened IPv4 addresses (127.1), and zones; isIP knows the
  // usual spelling only.
  const [address = ''] = entry.split('/');
  if (isIP(address) === 0 || address.includes('%')) return false;
  return entry === address || ipaddr.isValidCIDR(entry);
}

/** Hosts, each with or without a port. */
export const hostList = z
  .string()
  .transform((value) => value.split(',').map((entry) => entry.trim().toLowerCase()))
  .superRefine((entries, context) => {
    for (const entry of entries) {
      const url = URL.parse(`https://${entry}`);
      const isHost = url !== null && (url.host === entry || `${url.host}:443` === entry);
      if (!isHost) context.addIssue(`"${entry}" is not a host, or host:port`);
    }
  });

export const hostListOrAll = z
  .literal('*')
  .transform((all) => [all])
  .or(hostList);

export const proxyUrl = z
  .string()
  .refine((value) => /^https?:\/\//.test(value) && URL.canParse(value), 'must be an http(s) URL');

export const httpsOrigin = z
  .string()
  .refine(
    (value) => value.startsWith('https://') && URL.parse(value)?.origin === value,
    'must be https://host[:port] only',
  );

/** RFC 9110 §5.1, in lower case as Node spells header names. */
export const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,100}$/, 'must be the name of a header')
  .transform((value) => value.toLowerCase());
