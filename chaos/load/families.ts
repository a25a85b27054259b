// An app whose users sign in: codes are redeemed, refresh tokens rotated, and both are tried twice at the
// same moment at two nodes, as a thief would. Of these at most one may succeed, but for what the audit log
// calls a reuse within the grace.

import { obtainCode, REDIRECT_URI } from '../../test/support/oauth.ts';
import { createUserAgent } from '../../test/support/user-agent.ts';
import { countReusedInGrace } from '../checks.ts';
import type { LedgerToken } from '../ledger.ts';
import type { Answer } from '../node.ts';
import { againAndAgain, anyNode, isUndecided, mayBeSentAgain, type Play, reachableNode } from './actor.ts';
import { revoke } from './client-tokens.ts';

const MOST_REFRESHES = 12;
const SHARE_OF_DOUBLES = 0.1;
const SHARE_OF_REVOKED = 0.4;

interface Family {
  /** all that it has brought */
  readonly tokens: LedgerToken[];
  refreshToken: string;
}

export function signInAndRefresh(play: Play): Promise<void> {
  return againAndAgain(play, 200, async () => {
    const form = await codeForm(play);
    if (form === undefined) return;
    if (play.random.isOne(SHARE_OF_DOUBLES)) return spendTwice(play, form, []);
    const family = await redeem(play, form);
    if (family !== undefined) await live(play, family);
  });
}

type Form = Readonly<Record<string, string>>;

/** @returns undefined when a fault has got in the way: the app begins again */
async function codeForm(play: Play): Promise<Form | undefined> {
  const { installation, random, cast } = play;
  const { issuer } = installation;
  const node = reachableNode(play);
  const params = { scope: 'openid read', resource: cast.apis[random.pick(['jwt', 'opaque'] as const)] };
  const options = { agent: createUserAgent(issuer, [], node.fetch), user: random.pick(cast.users) };
  const issued = await obtainCode({ issuer }, cast.app, params, options).catch(() => undefined);
  if (issued === undefined) return undefined;
  const grant_type = 'authorization_code';
  return { grant_type, code: issued.code, code_verifier: issued.verifier, redirect_uri: REDIRECT_URI };
}

const ask = (play: Play, form: Form) => anyNode(play).ask({ path: '/oauth2/token', client: play.cast.app, form });

async function redeem(play: Play, form: Form): Promise<Family | undefined> {
  for (;;) {
    const answer = await ask(play, form);
    if (answer.status === 200) return keep(play, { tokens: [], refreshToken: '' }, answer);
    if (mayBeSentAgain(answer) && !play.isOver()) continue;
    if (!isUndecided(answer)) refuse(play, 'a new code', answer);
    return undefined;
  }
}

function keep({ ledger, cast }: Play, family: Family, { requestId, body }: Answer): Family {
  ledger.acknowledge(requestId, 'token.issued', 2);
  family.refreshToken = String(body.refresh_token);
  for (const token of [String(body.access_token), family.refreshToken]) {
    family.tokens.push(ledger.addToken(cast.app, token));
  }
  return family;
}

async function live(play: Play, family: Family): Promise<void> {
  const { random } = play;
  for (let time = 0; time < MOST_REFRESHES && !play.isOver(); time++) {
    const form = { grant_type: 'refresh_token', refresh_token: family.refreshToken };
    if (random.isOne(SHARE_OF_DOUBLES)) return spendTwice(play, form, family.tokens);
    if (!(await refresh(play, family, form))) return;
  }
  if (random.isOne(SHARE_OF_REVOKED)) await revokeFamily(play, family);
}

/** @returns false when the family is over, or may be */
async function refresh(play: Play, family: Family, form: Form): Promise<boolean> {
  const used = family.tokens.at(-1) as LedgerToken;
  let mayBeSpent = false;
  for (;;) {
    used.state = 'unknown';
    const answer = await ask(play, form);
    if (answer.status === 200) {
      used.state = 'gone';
      keep(play, family, answer);
      return true;
    }
    mayBeSpent ||= isUndecided(answer) && !mayBeSentAgain(answer);
    if (isUndecided(answer) && !play.isOver()) continue;
    if (!isUndecided(answer) && !mayBeSpent) refuse(play, 'a live refresh token', answer);
    // A second use after the grace ends all of them.
    doubt(family.tokens);
    return false;
  }
}

async function revokeFamily(play: Play, family: Family): Promise<void> {
  const newest = family.tokens.at(-1) as LedgerToken;
  doubt(family.tokens);
  await revoke(play, newest);
  // The grant ends with its refresh token.
  if (newest.state === 'gone') for (const token of family.tokens) token.state = 'gone';
}

async function spendTwice(play: Play, form: Form, family: readonly LedgerToken[]): Promise<void> {
  const { ledger, installation } = play;
  doubt(family);
  const answers = await Promise.all([ask(play, form), ask(play, form)]);
  const granted = answers.filter(({ status }) => status === 200);
  for (const _ of granted) ledger.acknowledge();
  if (granted.length < 2) return;
  const ids = granted.map(({ requestId }) => requestId);
  const reused = await countReusedInGrace(installation, ids).catch(() => undefined);
  if (reused !== undefined && granted.length - reused > 1) {
    ledger.violate(
      'doubled',
      `${form.grant_type} was spent ${granted.length} times, ${reused} of them within the grace`,
    );
  }
}

function doubt(tokens: readonly LedgerToken[]): void {
  for (const token of tokens) token.state = 'unknown';
}

function refuse({ ledger }: Play, what: string, { status, body }: Answer): void {
  ledger.violate('lost', `${what} was refused: ${status} ${JSON.stringify(body)}`);
}
