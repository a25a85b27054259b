// Entity tags (RFC 9110 §8.8.3) and the conditions that requests name them in (§13.1).

import { createHash } from 'node:crypto';

/** 132 bits of the digest: equal bytes have one tag, at every node. */
const TAG_CHARACTERS = 22;

const TAG = /(?:W\/)?"[^"]*"/g;

/** A strong one. */
export function entityTagOf(content: string | Uint8Array): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, TAG_CHARACTERS)}"`;
}

/** The conditions of a request. An empty list, of a header that is none of tags: no representation has one of them. */
export interface Conditions {
  /** undefined: none; `*`: any representation */
  readonly ifMatch: readonly string[] | '*' | undefined;
  readonly ifNoneMatch: readonly string[] | '*' | undefined;
}

export function readConditions(headers: Readonly<Record<string, unknown>>): Conditions {
  return { ifMatch: readTags(headers['if-match']), ifNoneMatch: readTags(headers['if-none-match']) };
}

/**
 * The conditions in their order (§13.2.2). If-Modified-Since and If-Unmodified-Since do not count where there are no dates.
 * @param entityTag a strong one, of what would be changed or sent; undefined: there is none
 * @returns which of them is not fulfilled; undefined: go on
 */
export function failedCondition(
  { ifMatch, ifNoneMatch }: Conditions,
  entityTag: string | undefined,
): 'If-Match' | 'If-None-Match' | undefined {
  // §13.1.1: the strong comparison, for which a weak tag is like no other.
  if (ifMatch !== undefined && !names(ifMatch, entityTag)) return 'If-Match';
  // §13.1.2: the weak one, since caches and compressing proxies make a weak tag of ours.
  const weakly = typeof ifNoneMatch === 'object' ? ifNoneMatch.map((tag) => tag.replace(/^W\//, '')) : ifNoneMatch;
  if (weakly !== undefined && names(weakly, entityTag)) return 'If-None-Match';
  return undefined;
}

function names(tags: readonly string[] | '*', entityTag: string | undefined): boolean {
  return entityTag !== undefined && (tags === '*' || tags.includes(entityTag));
}

/** A tag may contain commas. */
function readTags(header: unknown): readonly string[] | '*' | undefined {
  if (typeof header !== 'string' || header === '') return undefined;
  if (header.trim() === '*') return '*';
  const isList = !/[^\s,]/.test(header.replaceAll(TAG, ''));
  return isList ? (header.match(TAG) ?? []) : [];
}
