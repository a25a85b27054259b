// The clients that have a label of their own; the others share `other`. The number of labels is
// bounded. A client keeps its label, and its earlier tokens stay under `other`: a count that moved
// between series would show up as traffic in rate().
//
// Half of the labels go to the first clients, so that a small installation sees all of its clients.
// The other half is for large clients, which were issued one in a hundred of all tokens since the
// start. Candidates are counted in bounded memory (Misra and Gries, "Finding repeated elements",
// 1982): with k counters, a count is never too high and at most 1/k of all tokens too low.

export const MAX_CLIENT_LABELS = 50;
const FIRST_CLIENT_LABELS = 25;
/** Counts are at most 0.5 % too low, so that a client with 1.5 % of all tokens gets a label. */
const MAX_CANDIDATES = 200;
const LARGE_SHARE = 0.01;
/** The share of a few tokens is not significant. */
const MIN_TOKENS = 100;

export const OTHER = 'other';

/** @returns a function to call once for each issued token, from the client to its label */
export function createClientLabels(): (name: string) => string {
  const labelled = new Set<string>();
  const candidates = new Map<string, number>();
  let total = 0;

  function isLarge(name: string): boolean {
    const count = candidates.get(name);
    if (count === undefined && candidates.size >= MAX_CANDIDATES) {
      for (const [candidate, candidateCount] of candidates) {
        if (candidateCount === 1) candidates.delete(candidate);
        else candidates.set(candidate, candidateCount - 1);
      }
      return false;
    }
    candidates.set(name, (count ?? 0) + 1);
    return (count ?? 0) + 1 >= Math.max(MIN_TOKENS, total * LARGE_SHARE);
  }

  return (name) => {
    total++;
    if (labelled.has(name)) return name;
    if (labelled.size >= MAX_CLIENT_LABELS) return OTHER;
    if (labelled.size >= FIRST_CLIENT_LABELS && !isLarge(name)) return OTHER;
    candidates.delete(name);
    labelled.add(name);
    return name;
  };
}
