// Compares the ledger with what the installation says: every token that was answered and not taken away
// is active, every other is not, and every acknowledged request has its audit events, once.

import { setTimeout as sleep } from 'node:timers/promises';
import { type Installation, reachable } from './installation.ts';
import type { ExpectedEvent, Ledger, LedgerToken } from './ledger.ts';
import type { Node } from './node.ts';
import type { Random } from './random.ts';

const AT_ONCE = 24;
/** Of tokens that were checked before; all new ones, and at the end all. */
const SAMPLE = 200;
const MOST_NEW = 600;
const ANSWER_WITHIN_MS = 60_000;
const PAUSE_MS = 50;
const ID_BATCH = 5_000;

export interface Checks {
  /** After a fault. */
  some(): Promise<void>;
  /** At the end. */
  all(): Promise<void>;
}

export function createChecks(installation: Installation, ledger: Ledger, random: Random): Checks {
  let tokensSeen = 0;
  let eventsSeen = 0;

  async function checkTokens(tokens: readonly LedgerToken[]): Promise<void> {
    const rest = [...tokens];
    async function checkRest(): Promise<void> {
      for (let token = rest.pop(); token !== undefined; token = rest.pop()) await checkToken(token);
    }
    await Promise.all(Array.from({ length: AT_ONCE }, checkRest));
  }

  async function checkToken(token: LedgerToken): Promise<void> {
    const { state } = token;
    if (state === 'unknown' || token.caller === null) return;
    const node = random.pick(reachable(installation));
    const isActive = await introspect(node, token);
    // Something that an actor did meanwhile.
    if (token.state !== state) return;
    if (isActive === undefined) ledger.violate('failed', `a token could not be introspected at ${node.name}`);
    else if (state === 'live' && !isActive)
      ledger.violate('lost', `a live ${kindOf(token)} is inactive at ${node.name}`);
    else if (state === 'gone' && isActive)
      ledger.violate('granted', `a ${kindOf(token)} that is gone is active at ${node.name}`);
  }

  return {
    async some() {
      const fresh = ledger.tokens.slice(tokensSeen);
      const seen = ledger.tokens.slice(0, tokensSeen);
      const older = Array.from({ length: Math.min(SAMPLE, seen.length) }, () => random.pick(seen));
      tokensSeen = ledger.tokens.length;
      await checkTokens([...random.shuffle(fresh).slice(0, MOST_NEW), ...older]);
      const events = ledger.events.slice(eventsSeen);
      eventsSeen = ledger.events.length;
      await checkEvents(installation, ledger, events);
      await checkTwins(installation, ledger);
    },
    async all() {
      await checkTokens(ledger.tokens);
      await checkEvents(installation, ledger, ledger.events);
      await checkTwins(installation, ledger);
    },
  };
}

const kindOf = ({ kid }: LedgerToken) => (kid === undefined ? 'token' : 'JWT');

/** Asks until it is told, if anybody may ask. */
export async function introspect(node: Node, { caller, token }: LedgerToken): Promise<boolean | undefined> {
  if (caller === null) return undefined;
  for (const deadline = performance.now() + ANSWER_WITHIN_MS; performance.now() < deadline; await sleep(PAUSE_MS)) {
    const { status, body } = await node.ask({ path: '/oauth2/introspect', client: caller, form: { token } });
    if (status === 200) return body.active === true;
  }
  return undefined;
}

async function checkEvents(
  installation: Installation,
  ledger: Ledger,
  expected: readonly ExpectedEvent[],
): Promise<void> {
  for (let from = 0; from < expected.length; from += ID_BATCH) {
    const batch = expected.slice(from, from + ID_BATCH);
    const found = await installation.withDatabase((sql) =>
      sql.query<{ id: string; type: string; count: number }>(
        `SELECT request_id AS id, type, count(*)::int AS count FROM audit_events WHERE request_id = ANY ($1) GROUP BY 1, 2`,
        [batch.map(({ requestId }) => requestId)],
      ),
    );
    const counts = new Map(found.rows.map(({ id, type, count }) => [`${id} ${type}`, count]));
    for (const { requestId, type, count } of batch) {
      const there = counts.get(`${requestId} ${type}`) ?? 0;
      if (there < count) ledger.violate('lost', `${there} of ${count} events ${type} of request ${requestId}`);
      if (there > count)
        ledger.violate('doubled', `${there} instead of ${count} events ${type} of request ${requestId}`);
    }
  }
}

/** Of twins one may have been granted within the grace of a refresh token: the audit log says so. */
async function checkTwins(installation: Installation, ledger: Ledger): Promise<void> {
  for (const { requestIds, what } of ledger.twins.splice(0)) {
    const { rows } = await installation.withDatabase((sql) =>
      sql.query<{ count: number }>(
        `SELECT count(DISTINCT request_id)::int AS count FROM audit_events
         WHERE type = 'refresh_token.reused_in_grace' AND request_id = ANY ($1)`,
        [requestIds],
      ),
    );
    if ((rows[0]?.count ?? 0) >= requestIds.length - 1) ledger.countSibling();
    else ledger.violate('doubled', `${what} was spent ${requestIds.length} times`);
  }
}
