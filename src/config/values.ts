// What the values of the configuration may look like: each schema turns the text of a variable into its value, or says what is
// wrong with it.

import { isIP } from 'node:net';
import { z } from 'zod';

const LOOPBACK_HOSTS = new Set(['localhost', '127.0.0.1', '[::1]']);

export const integer = (minimum: number, maximum: number) =>
  z
    .string()
    .regex(/^\d{1,12}$/, 'must be a whole number')
    .transform(Number)
    .refine((value) => value >= minimum && value <= maximum, `must be between ${minimum} and ${maximum}`);

export const yesOrNo = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');

export const issuerUrl = z.string().superRefine((value, context) => {
  const url = URL.parse(value);
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    context.addIssue('must be an https URL');
  } else if (url.origin !== value) {
    context.addIssue('must be scheme, host and port only: no path, no trailing slash, no user, no default port');
  } else if (url.protocol === 'http:' && !LOOPBACK_HOSTS.has(url.hostname)) {
    // RFC 8414 §2: the issuer is an https URL. Plain http is for trying things out on this machine only.
    context.addIssue('must be https, unless the host is localhost, 127.0.0.1 or [::1]');
  }
});

export const databaseUrl = z
  .string()
  .refine((value) => /^postgres(ql)?:\/\//.test(value) && URL.canParse(value), 'must be a postgres:// URL');

export const proxyList = z
  .string()
  .transform((value) => value.split(',').map((entry) => entry.trim()))
  .superRefine((entries, context) => {
    for (const entry of entries) {
      if (!isAddressOrRange(entry)) context.addIssue(`"${entry}" is not an IP address or CIDR range`);
    }
  });

function isAddressOrRange(entry: string): boolean {
  const [address = '', bits, ...rest] = entry.split('/');
  const family = isIP(address);
  if (family === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (family === 4 ? 32 : 128));
}

/** `::ffff:192.0.2.1` is 192.0.2.1 */
export function withoutMapping(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '');
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

export const proxyUrl = z
  .string()
  .refine((value) => /^https?:\/\//.test(value) && URL.canParse(value), 'must be an http(s) URL');

export const httpsOrigin = z
  .string()
  .refine(
    (value) => value.startsWith('https://') && URL.parse(value)?.origin === value,
    'must be https://host[:port] only',
  );

/** RFC 9110 §5.1, in lower case as Node has it. */
export const headerName = z
  .string()
  .regex(/^[A-Za-z0-9-]{1,100}$/, 'must be the name of a header')
  .transform((value) => value.toLowerCase());
