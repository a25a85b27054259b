// JSON that no honest client sends, as text, so that it may hold what JSON.stringify would never
// write.

import { CompactSign } from 'jose';
import type { Signer } from './signing.ts';

export interface OddValue {
  /** for the list of faults */
  readonly label: string;
  readonly json: string;
}

/** What the input gate refuses wherever it is. */
export const REFUSED: readonly OddValue[] = [
  // Deep enough for JSON.stringify and structuredClone to fail, and short enough for a form.
  { label: 'lists 4,390 deep', json: nestedLists(4_390) },
  { label: 'objects 100 deep', json: nestedObjects(100) },
  { label: 'half of a surrogate pair', json: '"a\\ud83d"' },
  { label: 'half of a surrogate pair in a name', json: '{"\\udfff":1}' },
  { label: 'a NUL', json: '[["a\\u0000b"]]' },
  { label: 'a NUL in a name', json: '{"a\\u0000":1}' },
  { label: 'a number that is too large', json: '1e309' },
];

/** Well-formed, but hardly ever of the type that a member has. */
export const OF_ANOTHER_TYPE: readonly OddValue[] = [
  ...[
    '{"toString":1}',
    '[{"toString":1,"valueOf":null}]',
    '{"__proto__":{"a":1}}',
    '{"toJSON":1,"then":1}',
    'null',
    'true',
  ],
  ...['-1', '1e308', '""', '[]', '[[null]]', '{}', '["a","a"]', '"__proto__"', '"\\ufffd\\u202e"'],
].map((json) => ({ label: json, json }));

export const ODD_VALUES: readonly OddValue[] = [...REFUSED, ...OF_ANOTHER_TYPE];

/**
 * Each member with some of the values, and each value with some of the members: all pairs would
 * take minutes. 7 and 22 have no common divisor, so that the values differ from member to member.
 */
export function somePairs<Member>(members: readonly Member[], perMember = 7): [member: Member, value: OddValue][] {
  return members.flatMap((member, index) =>
    Array.from({ length: perMember }, (_, nth): [Member, OddValue] => {
      return [member, ODD_VALUES[(index * perMember + nth) % ODD_VALUES.length] as OddValue];
    }),
  );
}

export function nestedLists(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

export function nestedObjects(depth: number): string {
  return `${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}`;
}

/** An object with one more member, or with another value of one that it has. */
export function withMember(object: Readonly<Record<string, unknown>>, name: string, json: string): string {
  const others = Object.entries(object).filter(([key, value]) => key !== name && value !== undefined);
  const members = [...others.map(([key, value]) => [key, JSON.stringify(value)]), [name, json]];
  return `{${members.map(([key, text]) => `${JSON.stringify(key)}:${text}`).join(',')}}`;
}

export function unsignedJwt(header: string, payload: string): string {
  const encode = (text: string) => Buffer.from(text).toString('base64url');
  return `${encode(header)}.${encode(payload)}.AAAA`;
}

export function signedJwt(signer: Signer, payload: string, header: Record<string, unknown> = {}): Promise<string> {
  return new CompactSign(Buffer.from(payload))
    .setProtectedHeader({
      alg: signer.alg,
      ...(signer.publicJwk.kid === undefined ? {} : { kid: signer.publicJwk.kid }),
      ...header,
    })
    .sign(signer.privateKey);
}
