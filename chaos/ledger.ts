// What the installation has acknowledged, and each breach of a promise that was seen. Actors write
// here what an answer said; checks.ts compares it with what the installation says later.

import type { TestClient } from '../test/support/admin.ts';

export type Breach =
  /** acknowledged, and not there any more */
  | 'lost'
  /** spent or recorded twice */
  | 'doubled'
  /** after it was taken away */
  | 'granted'
  /** a status that is not documented, no answer, or too late an answer; no recovery */
  | 'failed';

export interface Violation {
  readonly breach: Breach;
  readonly fault: string;
  readonly text: string;
}

export interface LedgerToken {
  readonly token: string;
  /** it was issued to */
  readonly client: TestClient;
  /** may introspect it; null: a refresh token of a public client, about which nobody may ask */
  readonly caller: TestClient | null;
  /** the key that has signed it */
  readonly kid: string | undefined;
  /** `unknown` while something that may end it is not acknowledged */
  state: 'live' | 'gone' | 'unknown';
}

export interface ExpectedEvent {
  readonly requestId: string;
  readonly type: string;
  readonly count: number;
}

/** Requests that spent the same thing and were both granted. */
export interface Twins {
  readonly requestIds: readonly string[];
  readonly what: string;
}

export interface Tally {
  rounds: number;
  acknowledged: number;
  /** tokens of a refresh token that was used again within the grace */
  siblings: number;
  worstRecoverySeconds: number;
}

export const NO_FAULT = '(no fault)';

export interface Ledger {
  readonly tokens: readonly LedgerToken[];
  readonly events: readonly ExpectedEvent[];
  /** not judged yet */
  readonly twins: Twins[];
  readonly violations: readonly Violation[];
  readonly tallies: ReadonlyMap<string, Tally>;
  readonly statuses: ReadonlyMap<string, number>;
  /** What follows is counted for this fault. */
  enter(fault: string): Tally;
  /** A token that an answer has brought. */
  addToken(client: TestClient, token: string, caller: TestClient | null): LedgerToken;
  /** One more answer that acknowledges something, and the audit events that must be there for it. */
  acknowledge(requestId?: string, type?: string, count?: number): void;
  countSibling(): void;
  noteStatus(status: string): void;
  violate(breach: Breach, text: string): void;
  /** Tokens signed with the key. */
  setKey(kid: string, state: 'gone' | 'unknown'): void;
  /** undefined: nothing was done to it */
  keyState(kid: string): 'gone' | 'unknown' | undefined;
}

/** @param say hears of each violation at once */
export function createLedger(say: (text: string) => void = () => {}): Ledger {
  const tokens: LedgerToken[] = [];
  const events: ExpectedEvent[] = [];
  const twins: Twins[] = [];
  const violations: Violation[] = [];
  const tallies = new Map<string, Tally>();
  const statuses = new Map<string, number>();
  const keys = new Map<string, 'gone' | 'unknown'>();
  let fault = NO_FAULT;

  function tally(name: string): Tally {
    const known = tallies.get(name);
    if (known !== undefined) return known;
    const fresh = { rounds: 0, acknowledged: 0, siblings: 0, worstRecoverySeconds: 0 };
    tallies.set(name, fresh);
    return fresh;
  }

  return {
    tokens,
    events,
    twins,
    violations,
    tallies,
    statuses,
    enter(name) {
      fault = name;
      return tally(name);
    },
    addToken(client, token, caller) {
      const kid = kidOf(token);
      const added: LedgerToken = { token, client, caller, kid, state: keys.get(kid ?? '') ?? 'live' };
      tokens.push(added);
      return added;
    },
    acknowledge(requestId, type, count = 1) {
      tally(fault).acknowledged++;
      if (requestId !== undefined && type !== undefined) events.push({ requestId, type, count });
    },
    countSibling: () => void tally(fault).siblings++,
    noteStatus: (status) => void statuses.set(status, (statuses.get(status) ?? 0) + 1),
    violate(breach, text) {
      violations.push({ breach, fault, text });
      say(`${breach.toUpperCase()} (${fault}): ${text}`);
    },
    keyState: (kid) => keys.get(kid),
    setKey(kid, state) {
      keys.set(kid, state);
      for (const token of tokens) if (token.kid === kid) token.state = state;
    },
  };
}

/** Of a JWT; undefined of an opaque token. */
export function kidOf(token: string): string | undefined {
  const [head = '', payload] = token.split('.');
  return payload === undefined ? undefined : JSON.parse(Buffer.from(head, 'base64url').toString()).kid;
}
