// A service that gets tokens for itself, introspects them and revokes some of them.

import { introspect } from '../checks.ts';
import { kidOf, type LedgerToken } from '../ledger.ts';
import { againAndAgain, anyNode, isUndecided, type Play, reachableNode } from './actor.ts';

const REVOKE_WITHIN = 100;

export function getTokens(play: Play): Promise<void> {
  const { ledger, random, fixtures } = play;
  return againAndAgain(play, 40, async () => {
    const format = random.pick(['jwt', 'opaque'] as const);
    const form = { grant_type: 'client_credentials', resource: fixtures.apis[format] };
    const answer = await anyNode(play).ask({ path: '/oauth2/token', client: fixtures.service, form });
    if (answer.status === 200) {
      ledger.acknowledge(answer.requestId, 'token.issued');
      ledger.addToken(fixtures.service, String(answer.body.access_token), fixtures.service);
    } else if (!isUndecided(answer)) {
      ledger.violate('failed', `a token was refused: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
  });
}

export function introspectTokens(play: Play): Promise<void> {
  const { ledger, random } = play;
  return againAndAgain(play, 40, async () => {
    if (ledger.tokens.length === 0) return;
    const token = random.pick(ledger.tokens);
    const { state, caller } = token;
    if (caller === null) return;
    const node = anyNode(play);
    const { status, body } = await node.ask({
      path: '/oauth2/introspect',
      client: caller,
      form: { token: token.token },
    });
    if (status !== 200 || token.state !== state || state === 'unknown') return;
    const kind = kidOf(token.token) === undefined ? 'token' : 'JWT';
    if (state === 'live' && body.active !== true) ledger.violate('lost', `a live ${kind} is inactive at ${node.name}`);
    if (state === 'gone' && body.active === true) ledger.violate('granted', `a ${kind} that is gone, at ${node.name}`);
  });
}

export function revokeTokens(play: Play): Promise<void> {
  const { ledger, random, fixtures } = play;
  return againAndAgain(play, 150, async () => {
    const token = random.pick(ledger.tokens.filter((one) => one.state === 'live' && one.client === fixtures.service));
    if (token !== undefined) await revoke(play, token);
  });
}

/** Until it is acknowledged; then no node says that it is active. */
export async function revoke(play: Play, token: LedgerToken): Promise<void> {
  const { ledger, installation } = play;
  token.state = 'unknown';
  for (let time = 0; time < REVOKE_WITHIN && !play.isOver(); time++) {
    const answer = await reachableNode(play).ask({
      path: '/oauth2/revoke',
      client: token.client,
      form: { token: token.token },
    });
    if (isUndecided(answer)) continue;
    if (answer.status !== 200) {
      ledger.violate('failed', `a revocation was refused: ${answer.status} ${JSON.stringify(answer.body)}`);
      return;
    }
    // What a request without an answer has done is no event of this one.
    ledger.acknowledge(time === 0 && !isVoid(play, token) ? answer.requestId : undefined, 'token.revoked');
    token.state = 'gone';
    const nodes = installation.nodes.filter((node) => node.isUp());
    await Promise.all(
      nodes.map(async (node) => {
        if ((await introspect(node, token)) === true)
          ledger.violate('granted', `a revoked token is active at ${node.name}`);
      }),
    );
    return;
  }
}

/** Its key was removed, perhaps meanwhile: nothing is left to revoke. */
function isVoid({ ledger }: Play, { kid }: LedgerToken): boolean {
  return kid !== undefined && ledger.keyState(kid) !== undefined;
}
