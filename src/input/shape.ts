// The shape of input: what no request, document or key may hold, whatever its members mean. Text is
// what PostgreSQL stores and UTF-8 encodes; JSON is as deep as recursive code can follow
// (JSON.stringify fails at some 5,000 levels). Everything that comes from outside is checked here
// once, when it has been read: JSON by findFault, forms and query strings in encoded.ts. This
// folder knows no endpoints: what is answered is decided by its callers (http/body,
// provider/http/input-gate, metadata-documents).

export interface Fault {
  /** RFC 6901; of the value that was checked. Safe to show. */
  readonly pointer: string;
  readonly detail: string;
}

/** Far deeper than any key set, claims request or JSON Schema that is used. */
export const MAX_DEPTH = 32;

/** A pointer leads to the member, not to the last of its levels. */
const MAX_POINTER_NAMES = 6;
const MAX_NAME_CHARACTERS = 60;

export const NUL_FAULT = 'must not contain NUL';
const SURROGATE_FAULT = 'must not contain half of a surrogate pair';

/** @returns why a text cannot be stored or sent; undefined when it can */
export function findTextFault(text: string): string | undefined {
  if (text.includes('\0')) return NUL_FAULT;
  return text.isWellFormed() ? undefined : SURROGATE_FAULT;
}

interface Position {
  readonly value: unknown;
  /** undefined at the root */
  readonly name?: string;
  readonly parent?: Position;
  readonly depth: number;
}

/**
 * @param root what JSON.parse has made. Its levels are not visited by recursion, so that any depth
 *   can be checked.
 * @returns the first fault; undefined if there is none
 */
export function findFault(root: unknown): Fault | undefined {
  const waiting: Position[] = [{ value: root, depth: 0 }];
  for (let position = waiting.pop(); position !== undefined; position = waiting.pop()) {
    const detail = faultOf(position);
    if (detail !== undefined) return { pointer: pointerTo(position), detail };
    const { value, depth } = position;
    if (typeof value !== 'object' || value === null) continue;
    const parent = position;
    for (const [name, member] of Object.entries(value)) waiting.push({ value: member, name, parent, depth: depth + 1 });
  }
  return undefined;
}

/** Without what it holds. */
function faultOf({ value, name, depth }: Position): string | undefined {
  const nameFault = name === undefined ? undefined : findTextFault(name);
  if (nameFault !== undefined) return `its name ${nameFault}`;
  if (typeof value === 'string') return findTextFault(value);
  // JSON.parse makes infinity of 1e309, and JSON.stringify makes null of that.
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : 'must be a number that can be represented';
  const isContainer = typeof value === 'object' && value !== null;
  return isContainer && depth >= MAX_DEPTH ? `must not be nested more than ${MAX_DEPTH} levels deep` : undefined;
}

function pointerTo(position: Position): string {
  const names: string[] = [];
  for (let at: Position | undefined = position; at?.name !== undefined; at = at.parent) names.unshift(at.name);
  return names.slice(0, MAX_POINTER_NAMES).map(toSegment).join('');
}

function toSegment(name: string): string {
  const shown = showable(name).replaceAll('~', '~0').replaceAll('/', '~1');
  return `/${shown}`;
}

/** A name that a caller has chosen, fit for an answer and a log line. */
export function showable(name: string): string {
  return name
    .slice(0, MAX_NAME_CHARACTERS)
    .toWellFormed()
    .replaceAll(/\p{Cc}/gu, '\ufffd');
}
