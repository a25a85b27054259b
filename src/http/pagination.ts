// Cursor pagination: `?limit=&cursor=`, answered with `{"items": [], "next_cursor": null}`. A
// cursor is the key of the last item, so that pages neither repeat nor skip items when rows are
// added or removed.

import { z } from 'zod';
import { AppError } from '../errors.ts';

const MAX_LIMIT = 100;

export const pageQuery = {
  limit: z
    .string()
    // One pattern, so that the OpenAPI document says the same as the check.
    .regex(/^(?:[1-9]\d?|100)$/, `must be a whole number between 1 and ${MAX_LIMIT}`)
    .transform(Number)
    .optional()
    .meta({ description: `how many items, 1 to ${MAX_LIMIT}; 20 if left out` }),
  cursor: z
    .string('must be text')
    .max(1000, 'must have 1000 characters at most')
    .optional()
    .meta({ description: 'next_cursor of the page before' }),
};

export interface PageRequest {
  readonly limit: number;
  /** the key of the last item of the page before; undefined at the start */
  readonly after: string | undefined;
}

export interface Page<Item> {
  readonly items: Item[];
  readonly next_cursor: string | null;
}

export function pageSchema(item: z.ZodType): z.ZodType {
  return z.object({ items: z.array(item), next_cursor: z.string().nullable() });
}

export function toPageRequest(query: { limit?: number | undefined; cursor?: string | undefined }): PageRequest {
  return { limit: query.limit ?? 20, after: query.cursor === undefined ? undefined : decodeCursor(query.cursor) };
}

/** @param rows one more than the limit, if there are more */
export function toPage<Row, Item>(
  rows: readonly Row[],
  limit: number,
  toItem: (row: Row) => Item,
  keyOf: (row: Row) => string,
): Page<Item> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  const hasMore = rows.length > limit && last !== undefined;
  return {
    items: shown.map(toItem),
    next_cursor: hasMore ? Buffer.from(keyOf(last)).toString('base64url') : null,
  };
}

function decodeCursor(cursor: string): string {
  const key = Buffer.from(cursor, 'base64url').toString('utf8');
  const isOurs = Buffer.from(key).toString('base64url') === cursor && key !== '' && !key.includes('\0');
  if (!isOurs) throw new AppError('invalid_cursor', 'use next_cursor as it was given');
  return key;
}
