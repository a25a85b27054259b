// How a session that a request has read, changed and stores again comes together with what others
// have stored meanwhile: only the difference between what was read and what is written counts. Two
// apps that sign in at once both keep their entry, and an entry that a logout has removed does not
// come back. A session may be known by several ids for a time; all of them hold the same entries.

import { isDeepStrictEqual } from 'node:util';
import type { AdapterPayload } from 'oidc-provider';

/**
 * A browser that did not get its new id, since the answer was lost or another request of it was on
 * its way, goes on with the old one for so long.
 */
const REPLACED_ID_SECONDS = 60;

/** Requests at the same time that each give the session a new id; browsers do not send more. */
const MAX_OTHER_IDS = 10;

export interface SessionRow {
  readonly id: Buffer;
  readonly payload: AdapterPayload;
}

export interface SessionChange {
  readonly id: Buffer;
  /** that the engine has given up for `id` */
  readonly replacedId: Buffer | undefined;
  readonly read: AdapterPayload;
  readonly written: AdapterPayload;
}

export interface MergedSession {
  readonly stored: readonly SessionRow[];
  readonly removedIds: readonly Buffer[];
}

const UNCHANGED: MergedSession = { stored: [], removedIds: [] };

/** @param rows of the same uid as they are stored now, the longest-lived first */
export function mergeSession(change: SessionChange, rows: readonly SessionRow[]): MergedSession {
  const { id, replacedId, read, written } = change;
  const own = rows.filter(({ payload }) => payload.accountId === written.accountId);
  const foreign = rows.filter((row) => !own.includes(row));
  const isLogin = written.accountId !== undefined && read.accountId !== written.accountId;
  // It has ended meanwhile, or another user has signed in.
  if (!isLogin && (own.length === 0 || foreign.some(({ payload }) => payload.accountId !== undefined))) {
    return UNCHANGED;
  }
  const entries = own[0]?.payload.authorizations;
  // Two windows of one app: both change its entry.
  const authorizations = mergeMembers(entries, read.authorizations, written.authorizations, mergeMembers);
  const replaced = withId(own, replacedId);
  const before = withId(own, id) ?? replaced ?? own[0];
  const merged = before === undefined ? written : mergeMembers(before.payload, read, written);
  const others = own.filter((row) => !row.id.equals(id) && row !== replaced);
  return {
    stored: [
      { id, payload: { ...merged, exp: written.exp as number } },
      ...(replaced === undefined ? [] : [{ ...replaced, payload: endingSoon(replaced.payload) }]),
      ...others.slice(0, MAX_OTHER_IDS),
    ].map((row) => ({ ...row, payload: withEntries(row.payload, authorizations) })),
    // A login gives no rights to ids that were known before it (session fixation).
    removedIds: [...foreign, ...others.slice(MAX_OTHER_IDS)].map((row) => row.id),
  };
}

function withId(rows: readonly SessionRow[], id: Buffer | undefined): SessionRow | undefined {
  return id && rows.find((row) => row.id.equals(id));
}

type Members = Readonly<Record<string, object | undefined>>;

/**
 * Of each member the written value where the request has changed it, otherwise the stored one.
 * @param mergeBoth for a member that others have stored meanwhile as well
 */
function mergeMembers(
  stored: object = {},
  read: object = {},
  written: object = {},
  mergeBoth?: typeof mergeMembers,
): Record<string, unknown> {
  const [before, base, mine] = [stored, read, written] as [Members, Members, Members];
  const merged: [string, unknown][] = [];
  for (const name of new Set([...Object.keys(before), ...Object.keys(mine)])) {
    const isChanged = !isDeepStrictEqual(base[name], mine[name]);
    const hasBoth = isChanged && before[name] !== undefined && mine[name] !== undefined;
    const changed = hasBoth && mergeBoth ? mergeBoth(before[name], base[name], mine[name]) : mine[name];
    const value = isChanged ? changed : before[name];
    if (value !== undefined) merged.push([name, value]);
  }
  return Object.fromEntries(merged);
}

function withEntries(payload: AdapterPayload, authorizations: object): AdapterPayload {
  const { authorizations: _, ...others } = payload;
  return Object.keys(authorizations).length === 0 ? others : ({ ...others, authorizations } as AdapterPayload);
}

function endingSoon(payload: AdapterPayload): AdapterPayload {
  const latest = Math.floor(Date.now() / 1000) + REPLACED_ID_SECONDS;
  return { ...payload, exp: Math.min(payload.exp ?? latest, latest) };
}
