// An app whose users sign in: codes are redeemed, refresh tokens rotated, and both are tried twice at the
// same moment at two nodes, as a thief would. Of these at most one may succeed, but for what the audit log
// calls a reuse within the grace.

import type { TestClient } from '../../test/support/admin.ts';
import { obtainCode, REDIRECT_URI } from '../../test/support/oauth.ts';
import { createUserAgent } from '../../test/support/user-agent.ts';
import type { LedgerToken } from '../ledger.ts';
import type { Answer } from '../sender.ts';
import { againAndAgain, anyNode, isUndecided, mayBeSentAgain, type Play, reachableNode } from './actor.ts';
import { revoke } from './client-tokens.ts';

const MOST_REFRESHES = 12;
const SHARE_OF_DOUBLES = 0.1;
const SHARE_OF_REVOKED = 0.4;

interface Family {
  readonly app: TestClient;
  /** all that it has brought */
  readonly tokens: LedgerToken[];
  refreshToken: string;
}

export function signInAndRefresh(play: Play): Promise<void> {
  return againAndAgain(play, 200, async () => {
    const family: Family = { app: play.random.pick(play.fixtures.apps), tokens: [], refreshToken: '' };
    const form = await codeForm(play, family);
    if (form === undefined) return;
    if (play.random.isOne(SHARE_OF_DOUBLES)) await spendTwice(play, family, form);
    else if (await redeem(play, family, form)) await live(play, family);
  });
}

type Form = Readonly<Record<string, string>>;

/** @returns undefined when a fault has got in the way: the app begins again */
async function codeForm(play: Play, { app }: Family): Promise<Form | undefined> {
  const { installation, random, fixtures } = play;
  const { issuer } = installation;
  const node = reachableNode(play);
  const params = { scope: 'openid read', resource: fixtures.apis[random.pick(['jwt', 'opaque'] as const)] };
  const options = { agent: createUserAgent(issuer, [], node.fetch), user: random.pick(fixtures.users) };
  const issued = await obtainCode({ issuer }, app, params, options).catch(() => undefined);
  if (issued === undefined) return undefined;
  const grant_type = 'authorization_code';
  return { grant_type, code: issued.code, code_verifier: issued.verifier, redirect_uri: REDIRECT_URI };
}

const ask = (play: Play, { app }: Family, form: Form) =>
  anyNode(play).ask({ path: '/oauth2/token', client: app, form });

async function redeem(play: Play, family: Family, form: Form): Promise<boolean> {
  for (;;) {
    const answer = await ask(play, family, form);
    if (answer.status === 200) {
      keep(play, family, answer);
      return true;
    }
    if (mayBeSentAgain(answer) && !play.isOver()) continue;
    if (!isUndecided(answer)) refuse(play, 'a new code', answer);
    return false;
  }
}

function keep({ ledger, fixtures }: Play, family: Family, { requestId, body }: Answer): void {
  ledger.acknowledge(requestId, 'token.issued', 2);
  family.refreshToken = String(body.refresh_token);
  family.tokens.push(ledger.addToken(family.app, String(body.access_token), fixtures.service));
  family.tokens.push(ledger.addToken(family.app, family.refreshToken, null));
}

async function live(play: Play, family: Family): Promise<void> {
  const { random } = play;
  for (let time = 0; time < MOST_REFRESHES && !play.isOver(); time++) {
    const form = { grant_type: 'refresh_token', refresh_token: family.refreshToken };
    if (random.isOne(SHARE_OF_DOUBLES)) return spendTwice(play, family, form);
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
    const answer = await ask(play, family, form);
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

async function spendTwice(play: Play, family: Family, form: Form): Promise<void> {
  const { ledger } = play;
  doubt(family.tokens);
  const answers = await Promise.all([ask(play, family, form), ask(play, family, form)]);
  const granted = answers.filter(({ status }) => status === 200);
  for (const { requestId } of granted) ledger.acknowledge(requestId, 'token.issued', 2);
  if (granted.length < 2) return;
  ledger.twins.push({ requestIds: granted.map(({ requestId }) => requestId), what: String(form.grant_type) });
}

function doubt(tokens: readonly LedgerToken[]): void {
  for (const token of tokens) token.state = 'unknown';
}

function refuse({ ledger }: Play, what: string, { status, body }: Answer): void {
  ledger.violate('lost', `${what} was refused: ${status} ${JSON.stringify(body)}`);
}
