// Which clients have a series of their own. The number of labels is bounded, and a label that was given is never taken back:
// a counter that moved to another label would make one sum fall and another jump, which every rate() would report as traffic.
// What a client was issued before it got its label stays under `other`, so the sum over all labels is always right.
//
// Half of the places go to whoever comes first, so that a small installation sees each of its clients from the first token
// on. The other half is kept for clients that turn out to be large: those that were issued one token in a hundred since the
// start. Counting the candidates takes bounded memory too (Misra and Gries, "Finding repeated elements", 1982): with k
// counters no count is too high, and none is too low by more than 1/k of all tokens.

export const MAX_CLIENT_LABELS = 50;
const FIRST_COME_LABELS = 25;
/** Half a percent is the most by which a candidate is counted too low: who has 1.5 % of the tokens certainly gets a label. */
const MAX_CANDIDATES = 200;
const LARGE_SHARE = 0.01;
/** The share of a few tokens says nothing. */
const MIN_TOKENS = 100;

export const OTHER = 'other';

/** @returns a function that is called once for each issued token with its client, and says under which label it counts */
export function createClientLabels(): (name: string) => string {
  const labelled = new Set<string>();
  const candidates = new Map<string, number>();
  let total = 0;

  function isLarge(name: string): boolean {
    const count = candidates.get(name);
    if (count === undefined && candidates.size >= MAX_CANDIDATES) {
      for (const [candidate, rest] of candidates) {
        if (rest === 1) candidates.delete(candidate);
        else candidates.set(candidate, rest - 1);
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
    if (labelled.size >= FIRST_COME_LABELS && !isLarge(name)) return OTHER;
    candidates.delete(name);
    labelled.add(name);
    return name;
  };
}
