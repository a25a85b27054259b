// Whether a certificate names the client that it is registered for (RFC 8705 §2.1.2): by its
// subject, or by one of its subject alternative names. The registered value must occur as it is;
// there are no wildcards.

import type { X509Certificate } from 'node:crypto';
import { isIP, SocketAddress } from 'node:net';

/**
 * @param property the member of the client's metadata, e.g. `tls_client_auth_san_dns`; anything
 * else never matches
 */
export function subjectMatches(certificate: X509Certificate, property: string, expected: string): boolean {
  const named = (kind: string) =>
    alternativeNames(certificate).flatMap((name) => (name.kind === kind ? [name.value] : []));
  switch (property) {
    case 'tls_client_auth_subject_dn':
      return isSameName(expected, subjectOf(certificate));
    case 'tls_client_auth_san_dns':
      return named('DNS').some((name) => name.toLowerCase() === expected.toLowerCase());
    case 'tls_client_auth_san_email':
      return named('email').includes(expected);
    case 'tls_client_auth_san_uri':
      return named('URI').includes(expected);
    case 'tls_client_auth_san_ip':
      return isIP(expected) !== 0 && named('IP Address').some((name) => isSameAddress(name, expected));
    default:
      return false;
  }
}

/**
 * Node has one attribute per line, escaped as in RFC 2253, the most general one first. RFC 4514
 * begins with the last.
 */
function subjectOf({ subject }: X509Certificate): string {
  return (subject ?? '').split('\n').reverse().join(',');
}

function isSameName(expected: string, actual: string): boolean {
  const [one, two] = [canonicalName(expected), canonicalName(actual)];
  return one !== undefined && one === two;
}

/**
 * RFC 4514 §3: escapes undone, types in one case, no spaces around separators. Values are compared
 * as they are.
 */
function canonicalName(name: string): string | undefined {
  const attributes = splitUnescaped(name, /[,+]/).map(({ text, separator }) => {
    const [, type, value] = /^\s*([A-Za-z][\w-]*|\d+(?:\.\d+)*)\s*=\s*(.*)$/s.exec(text) ?? [];
    if (type === undefined || value === undefined || value.startsWith('#')) return undefined;
    return [type.toUpperCase(), unescapeValue(value), separator];
  });
  return attributes.includes(undefined) ? undefined : JSON.stringify(attributes);
}

function splitUnescaped(text: string, separator: RegExp): { text: string; separator: string }[] {
  const parts: { text: string; separator: string }[] = [];
  let part = '';
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === '\\') part += character + text.charAt(++at);
    else if (separator.test(character)) {
      parts.push({ text: part, separator: character });
      part = '';
    } else part += character;
  }
  return [...parts, { text: part, separator: '' }];
}

/**
 * `\2C` is a byte of UTF-8, `\,` the character itself; blanks at the end count only when escaped.
 */
function unescapeValue(value: string): string {
  const bytes: Buffer[] = [];
  const trimmed = value.replace(/(?<!\\)(?:\s+)$/, '');
  for (let at = 0; at < trimmed.length; at++) {
    const escaped = /^\\([0-9A-Fa-f]{2})/.exec(trimmed.slice(at, at + 3));
    if (escaped !== null) {
      bytes.push(Buffer.from(escaped[1] as string, 'hex'));
      at += 2;
    } else {
      if (trimmed.charAt(at) === '\\') at += 1;
      const character = String.fromCodePoint(trimmed.codePointAt(at) ?? 0);
      bytes.push(Buffer.from(character));
      at += character.length - 1;
    }
  }
  return Buffer.concat(bytes).toString('utf8');
}

/**
 * Node's text: `DNS:a.example, URI:"https://b/?x=1,2"`; a value with a comma in it is quoted as in
 * JSON.
 */
function alternativeNames({ subjectAltName = '' }: X509Certificate): { kind: string; value: string }[] {
  const names = (subjectAltName ?? '').matchAll(/(?:^|, )([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?=, |$)/g);
  return [...names].map(([, kind = '', value = '']) => ({
    kind,
    value: value.startsWith('"') ? (JSON.parse(value) as string) : value,
  }));
}

function isSameAddress(one: string, two: string): boolean {
  const version = isIP(one);
  if (version === 0 || version !== isIP(two)) return false;
  const canonical = (address: string) => new SocketAddress({ address, family: `ipv${version as 4 | 6}` }).address;
  return canonical(one) === canonical(two);
}
