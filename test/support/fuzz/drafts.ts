// Valid requests of every kind, as far as the choices of a seed make them so. What can be used once
// (a code, a proof, an assertion) is made anew by each call, with the same choices.

import { createHash } from 'node:crypto';
import { approveDevice, DEVICE_GRANT } from '../device.ts';
import { ACCESS_TOKEN, EXCHANGE } from '../exchange-chain.ts';
import { ALICE, authorizationUrl, REDIRECT_URI } from '../oauth.ts';
import { assertion, type Changes, dpopProof, inSeconds } from '../signing.ts';
import { pkcePair, signInAndAllow } from '../user-agent.ts';
import type { Random } from './random.ts';
import { type Header, type RawResponse, sendRaw } from './raw-http.ts';
import { APIS, type FuzzClient, PAYMENT, type PoolToken, type World } from './world.ts';

export interface Draft {
  readonly kind: Kind;
  /** for the message of a difference */
  readonly name: string;
  readonly method: string;
  readonly target: string;
  readonly headers: readonly Header[];
  /** undefined: no body */
  readonly form: readonly Header[] | undefined;
}

const TOKEN = '/oauth2/token';
const INTROSPECTION = '/oauth2/introspect';
const USERINFO = '/oauth2/userinfo';
const FORM: Header = ['Content-Type', 'application/x-www-form-urlencoded'];

const MAKERS = {
  client_credentials: clientCredentials,
  code,
  refresh,
  device,
  exchange,
  introspection,
  userinfo,
} as const satisfies Record<string, (world: World, random: Random) => Promise<Omit<Draft, 'kind'>>>;

export type Kind = keyof typeof MAKERS;

/** The cheap ones more often. */
const KINDS: readonly Kind[] = [
  ...Array<Kind>(5).fill('client_credentials'),
  ...Array<Kind>(4).fill('code'),
  ...Array<Kind>(3).fill('refresh'),
  ...(['device', 'exchange', 'exchange'] as const),
  ...Array<Kind>(5).fill('introspection'),
  ...Array<Kind>(4).fill('userinfo'),
];

export async function makeDraft(world: World, random: Random): Promise<Draft> {
  const kind = random.pick(KINDS);
  return { kind, ...(await MAKERS[kind](world, random)) };
}

/** As the engine's own pipeline would be sent it: the allow-list does not know that header. */
export const TO_ENGINE: Header = ['X-Unknown', '1'];

export function bodyOf({ form }: Draft): Buffer {
  return Buffer.from(form === undefined ? '' : new URLSearchParams(form.map(([...pair]) => pair)).toString());
}

export async function send(world: World, draft: Draft): Promise<RawResponse | undefined> {
  const body = bodyOf(draft);
  const { host, port } = new URL(world.server.issuer);
  const length: Header[] = draft.form === undefined ? [] : [['Content-Length', String(body.length)]];
  return sendRaw(Number(port), { ...draft, headers: [['Host', host], ...draft.headers, ...length, TO_ENGINE], body });
}

async function json(world: World, draft: Draft): Promise<Record<string, string>> {
  const response = await send(world, draft);
  if (response?.status !== 200) throw new Error(`${draft.name}: ${response?.status} ${response?.text}`);
  return JSON.parse(response.text);
}

async function post(
  world: World,
  random: Random,
  client: FuzzClient,
  form: readonly Header[],
  target = TOKEN,
): Promise<Omit<Draft, 'kind'>> {
  const credentials = await authenticate(world, random, client);
  const proof = target === TOKEN ? await tokenProof(world, random, client) : [];
  const mine = form.map(([name, value]) => (value.length > 40 ? name : `${name}=${value}`)).join(' ');
  return {
    name: `${client.name}: ${mine}`,
    method: 'POST',
    target,
    headers: [FORM, ...credentials.headers, ...proof],
    form: [...form, ...credentials.form],
  };
}

async function authenticate({ server }: World, random: Random, client: FuzzClient) {
  const { clientId, clientSecret, signer, certificate } = client;
  const headers: Header[] = certificate === undefined ? [] : [certificate];
  const form: Header[] = [];
  const inHeader = random.chance(0.6);
  if (signer !== undefined) form.push(...Object.entries(await assertion(server.issuer, clientId, signer)));
  else if (clientSecret === '') form.push(['client_id', clientId]);
  else if (inHeader) headers.push(['Authorization', `Basic ${btoa(`${clientId}:${clientSecret}`)}`]);
  else form.push(['client_id', clientId], ['client_secret', clientSecret]);
  return { headers, form };
}

/** A client that need not prove a key does so now and then. */
async function tokenProof(world: World, random: Random, client: FuzzClient): Promise<Header[]> {
  const isWanted = client.bindsToKey || random.chance(0.15);
  const choice = random.integer(12);
  const withNonce = random.chance(0.8);
  if (!isWanted) return [];
  const nonce = client.needsNonce && withNonce ? await fetchNonce(world, client) : undefined;
  return [['DPoP', await proof(world, choice, { htm: 'POST', path: TOKEN, claims: { nonce } })]];
}

interface ProofOf {
  readonly htm: string;
  readonly path: string;
  readonly claims?: Record<string, unknown>;
}

/** @param choice from 0 to 11; most are right */
function proof({ server, key, otherKey }: World, choice: number, { htm, path, claims = {} }: ProofOf): Promise<string> {
  const wrong: Record<number, Changes['claims']> = {
    0: { htu: `${server.issuer}/oauth2/elsewhere` },
    1: { htm: 'PUT' },
    2: { iat: inSeconds(-120) },
    3: { iat: inSeconds(400) },
    4: { jti: undefined },
  };
  const signer = choice === 5 ? otherKey : key;
  return dpopProof(signer, { htm, htu: `${server.issuer}${path}` }, { claims: { ...claims, ...wrong[choice] } });
}

async function fetchNonce(world: World, client: FuzzClient): Promise<string | undefined> {
  const dpop = await proof(world, 11, { htm: 'POST', path: TOKEN });
  const form: Header[] = [
    ['grant_type', 'refresh_token'],
    ['refresh_token', 'none'],
    ['client_id', client.clientId],
  ];
  const headers: Header[] = [FORM, ['DPoP', dpop]];
  const draft: Draft = { kind: 'refresh', name: 'nonce', method: 'POST', target: TOKEN, headers, form };
  return (await send(world, draft))?.headers.find(([name]) => name === 'dpop-nonce')?.[1];
}

const SCOPES = ['read', 'read write', 'write read', 'read delete', 'openid', 'read read'];

async function clientCredentials(world: World, random: Random) {
  const names = ['basic', 'post', 'assertion', 'certificate', 'single API', 'basic', 'disabled', 'public'];
  const client = clientOf(world, random.pick(names));
  const form: Header[] = [['grant_type', 'client_credentials']];
  if (client.name !== 'single API' || random.chance(0.5)) form.push(target(random, [APIS.jwt, APIS.opaque]));
  if (random.chance(0.1)) form.push(['resource', APIS.jwt]);
  if (random.chance(0.6)) form.push(['scope', random.pick(SCOPES)]);
  if (random.chance(0.15)) form.push(['authorization_details', JSON.stringify([PAYMENT])]);
  return post(world, random, client, form);
}

/** An API, by either name. */
function target(random: Random, identifiers: readonly string[]): Header {
  return [random.pick(['resource', 'audience']), random.pick(identifiers)];
}

const USER_CLIENTS = [
  ...['basic', 'post', 'no PKCE', 'assertion', 'certificate', 'public', 'public', 'no grace', 'pairwise', 'DPoP'],
  'nonce',
];

function clientOf({ clients, service }: World, name: string): FuzzClient {
  return [...clients, service].find((client) => client.name === name) as FuzzClient;
}

/** What the user is asked for. */
function request(random: Random): Header[] {
  const resource = random.pick([[], [], [APIS.jwt], [APIS.opaque], [APIS.jwt, APIS.opaque]]);
  const scopes = resource.length > 0 ? ['openid read write', 'read', 'openid offline_access read'] : ['openid email'];
  const scope = random.pick([...scopes, 'openid', 'openid profile email offline_access']);
  const list: Header[] = [['scope', scope], ...resource.map((each): Header => ['resource', each])];
  if (scope.includes('offline_access')) list.push(['prompt', 'consent']);
  if (scope.includes('openid') && random.chance(0.3)) list.push(['nonce', 'a nonce']);
  if (scope.includes('openid') && random.chance(0.15))
    list.push(['claims', '{"id_token":{"email":null},"userinfo":{"name":null}}']);
  if (resource.length > 0 && random.chance(0.15)) list.push(['authorization_details', JSON.stringify([PAYMENT])]);
  return list;
}

async function code(world: World, random: Random) {
  const client = clientOf(world, random.pick(USER_CLIENTS));
  return post(world, random, client, await redeemed(world, random, client));
}

async function redeemed(
  { server, agent, key }: World,
  random: Random,
  client: FuzzClient,
  mustSucceed = false,
): Promise<Header[]> {
  const hasPkce = client.name !== 'no PKCE' || random.chance(0.5);
  const { verifier, challenge } = pkcePair();
  const asked = request(random);
  const params = new URLSearchParams(asked.map(([...pair]) => pair));
  params.set('client_id', client.clientId);
  if (hasPkce) params.set('code_challenge', challenge);
  if (hasPkce) params.set('code_challenge_method', 'S256');
  if (client.bindsToKey && random.chance(0.3)) params.set('dpop_jkt', key.thumbprint);
  const url = `${authorizationUrl(server.issuer, { scope: undefined })}&${params}`;
  const back = await signInAndAllow(agent, url, ALICE);
  const issued = back.searchParams.get('code');
  if (issued === null) throw new Error(`no code: ${back.href}`);
  return [
    ['grant_type', 'authorization_code'],
    ['code', issued],
    ['redirect_uri', REDIRECT_URI],
    ...(hasPkce ? [['code_verifier', verifier] as const] : []),
    ...chosenResource(random, asked, mustSucceed),
  ];
}

/** RFC 8707 §2.2: needed when there are two. */
function chosenResource(random: Random, asked: readonly Header[], mustSucceed: boolean): Header[] {
  const resources = asked.filter(([name]) => name === 'resource');
  const isNamed = random.chance(resources.length === 2 ? 0.8 : 0.3) || (mustSucceed && resources.length === 2);
  const which = random.integer(2);
  return isNamed ? resources.slice(which % resources.length).slice(0, 1) : [];
}

/** The choices of a request that must succeed. */
const SURE: Random = { integer: (limit) => limit - 1, pick: ([first]) => first as never, chance: (p) => p > 0.7 };

async function refresh(world: World, random: Random) {
  const client = clientOf(world, random.pick(USER_CLIENTS));
  const redemption = await redeemed(world, random, client, true);
  const first = await json(world, { kind: 'code', ...(await post(world, SURE, client, redemption)) });
  const form: Header[] = [
    ['grant_type', 'refresh_token'],
    ['refresh_token', String(first.refresh_token)],
  ];
  if (random.chance(0.3)) form.push(['scope', random.pick(['openid', 'read', 'openid email', 'openid read write'])]);
  if (random.chance(0.3)) form.push(target(random, [APIS.jwt, APIS.opaque]));
  return post(world, random, client, form);
}

async function device(world: World, random: Random) {
  const client = clientOf(world, random.pick(['basic', 'post', 'public', 'no grace', 'DPoP']));
  const started = await json(world, {
    kind: 'device',
    ...(await post(
      world,
      SURE,
      client,
      request(random).filter(([name]) => name !== 'prompt'),
      '/oauth2/device_authorization',
    )),
  });
  if (random.chance(0.75)) await approveDevice(world.server.issuer, String(started.user_code), world.agent);
  const form: Header[] = [
    ['grant_type', DEVICE_GRANT],
    ['device_code', String(started.device_code)],
  ];
  return post(world, random, client, form);
}

async function exchange(world: World, random: Random) {
  const subject = random.pick([...world.subjectTokens, ...world.subjectTokens, random.pick(world.tokens)]);
  const form: Header[] = [
    ['grant_type', EXCHANGE],
    ['subject_token', subject.value],
    ['subject_token_type', ACCESS_TOKEN],
    target(random, [APIS.jwt, APIS.opaque]),
  ];
  if (random.chance(0.4)) form.push(['scope', random.pick(['read', 'write', 'read write', 'delete'])]);
  if (random.chance(0.2))
    form.push(['requested_token_type', random.pick([ACCESS_TOKEN, ACCESS_TOKEN.replace('access_token', 'jwt')])]);
  return post(world, random, random.chance(0.9) ? world.service : clientOf(world, 'basic'), form);
}

async function introspection(world: World, random: Random) {
  const caller = random.pick(world.callers);
  const { name, value } = random.pick(world.tokens);
  const form: Header[] = [['token', value]];
  if (random.chance(0.3)) form.push(['token_type_hint', random.pick(['access_token', 'refresh_token', 'nonsense'])]);
  const draft = await post(world, random, caller, form, INTROSPECTION);
  const accepts: Header[] = random.chance(0.12) ? [['Accept', 'application/token-introspection+jwt']] : [];
  return { ...draft, name: `${draft.name} (${name})`, headers: [...draft.headers, ...accepts] };
}

async function userinfo(world: World, random: Random) {
  const token = random.pick([...world.userinfoTokens, random.pick(world.tokens)]);
  const hasProof = random.chance(token.isBound ? 0.9 : 0.1);
  const hasCertificate = random.chance(0.8);
  const choice = random.integer(12);
  const headers: Header[] = [['Authorization', `${hasProof ? 'DPoP' : 'Bearer'} ${token.value}`]];
  if (hasProof) headers.push(['DPoP', await userinfoProof(world, token, choice)]);
  if (token.certificate !== undefined && hasCertificate) headers.push(token.certificate);
  return { name: token.name, method: 'GET', target: USERINFO, headers, form: undefined };
}

function userinfoProof(world: World, { value }: PoolToken, choice: number): Promise<string> {
  const ath = createHash('sha256')
    .update(choice === 6 ? 'another token' : value)
    .digest('base64url');
  return proof(world, choice, { htm: 'GET', path: USERINFO, claims: { ath } });
}
