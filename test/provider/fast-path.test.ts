// client_credentials on both transports: with a request that the fast path reads in another way than the
// engine, an attacker would have a second, weaker token endpoint.

import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import argon2 from 'argon2';
import type { TestClient } from '../support/admin.ts';
import { basic, plain, type Sent, sameBothWays } from '../support/both-ways.ts';
import { CODE_FLOW, PUBLIC } from '../support/oauth.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const [JWT, OPAQUE, SLASH] = ['https://jwt.example', 'https://opaque.example', 'https://slash.example/'];
const IMPORTED = 'an imported secret: +&=% "quoted"/~';
const CC = { grant_type: 'client_credentials' };
const body = 'grant_type=client_credentials';

let server: TestServer;
const clients = new Map<string, TestClient>();
const of = (name: string) => clients.get(name) as TestClient;

async function add(name: string, allowed: Record<string, string[]>, metadata?: Record<string, unknown>) {
  const client = await server.admin.createClient(metadata);
  for (const [identifier, scopes] of Object.entries(allowed))
    await server.admin.allow(client.clientId, identifier, scopes);
  clients.set(name, client);
  return client;
}

async function importSecret({ clientId }: TestClient, secret: string, overlapSeconds = 0): Promise<void> {
  const members = { secret, overlap_seconds: overlapSeconds };
  expect((await server.admin.request('POST', `/clients/${clientId}/secrets`, members)).status).toBe(201);
}

beforeAll(async () => {
  server = await startTestServer();
  const { admin } = server;
  const scopes = ['read', 'write', 'delete'];
  await admin.createApi(JWT, { scopes });
  await admin.createApi(OPAQUE, { scopes, access_token_format: 'opaque', access_token_ttl_seconds: 77 });
  await admin.createApi(SLASH, { scopes });
  const cc = ['client_credentials'];
  await add('jwt', { [JWT]: ['read', 'write'] });
  await add('opaque', { [OPAQUE]: ['read', 'write'] });
  await add('slash', { [SLASH]: ['read'] });
  await add('many', { [JWT]: ['read'], [OPAQUE]: ['write'] });
  await add('none', {});
  await add('no scopes', { [JWT]: [] });
  await add('post', { [JWT]: ['read'] }, { grant_types: cc, token_endpoint_auth_method: 'client_secret_post' });
  await add('code only', { [JWT]: ['read'] }, CODE_FLOW);
  await add('public', { [JWT]: ['read'] }, { ...CODE_FLOW, ...PUBLIC });
  const disabled = await add('disabled', { [JWT]: ['read'] });
  await admin.request('POST', `/clients/${disabled.clientId}/disable`);
  await importSecret(await add('imported', { [JWT]: ['read'] }), IMPORTED);
  await importSecret(await add('expired', { [JWT]: ['read'] }), 'another secret, imported');
});
afterAll(() => server.stop());

const sameAtToken = (sent: Sent) => sameBothWays(server, '/oauth2/token', sent);
const inBody = (name: string, form: Record<string, string> = {}): Sent => {
  const { clientId, clientSecret } = of(name);
  return { body: new URLSearchParams({ ...CC, client_id: clientId, client_secret: clientSecret, ...form }).toString() };
};
const inHeader = (name: string, form: Record<string, string> = {}, headers?: Record<string, string>): Sent =>
  plain(of(name), { ...CC, ...form }, headers);
const raw = (name: string, text: string | Buffer, headers: Record<string, string> = {}): Sent => {
  return { headers: { ...basic(of(name).clientId, of(name).clientSecret), ...headers }, body: text };
};

describe('answered without the engine, with the same answer and the same audit event:', () => {
  test.each<[string, () => Sent]>([
    ['a JWT', () => inHeader('jwt')],
    ['an opaque token', () => inHeader('opaque')],
    ['a client that registered basic and sends its secret in the body', () => inBody('jwt')],
    ['a client that registered post', () => inBody('post')],
    ['a client that registered post and uses the header', () => inHeader('post')],
    ['one scope', () => inHeader('jwt', { scope: 'read' })],
    ['two scopes', () => inHeader('jwt', { scope: 'write read' })],
    ['a scope twice', () => inHeader('opaque', { scope: 'read read' })],
    ['a scope beyond the policy', () => inHeader('jwt', { resource: JWT, scope: 'read delete' })],
    ['a scope that does not exist', () => inHeader('jwt', { resource: JWT, scope: 'read nonsense openid' })],
    ['scopes that one of its resources has', () => inHeader('many', { scope: 'write' })],
    ['its resource as audience', () => inHeader('many', { audience: OPAQUE })],
    ['its resource as audience and resource', () => inHeader('many', { audience: `${JWT}/`, resource: JWT })],
    ['its resource', () => inHeader('jwt', { resource: JWT })],
    ['one of its resources', () => inHeader('many', { resource: OPAQUE })],
    ['the other of its resources', () => inHeader('many', { resource: JWT, scope: 'read' })],
    ['its resource in the other spelling', () => inHeader('jwt', { resource: `${JWT}/` })],
    [
      'its resource in the other spelling, without the slash',
      () => inHeader('slash', { resource: 'https://slash.example' }),
    ],
    ['a charset', () => inHeader('jwt', {}, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' })],
    ['a content type in capitals', () => inHeader('jwt', {}, { 'content-type': 'Application/X-WWW-Form-Urlencoded' })],
    ['percent-encoded values', () => raw('jwt', 'grant%5Ftype=client%5fcredentials&scope=re%61d+write')],
    [
      'headers that do not matter',
      () => inHeader('jwt', {}, { accept: 'application/json, text/plain, */*', cookie: '_session=x' }),
    ],
    ['a foreign request id', () => inHeader('jwt', {}, { 'x-request-id': 'chosen by the caller' })],
    ['a secret with special characters in the body', () => inBody('imported', { client_secret: IMPORTED })],
  ])('%s', async (_name, sent) => {
    const { status, events, isFast } = await sameAtToken(sent());
    expect([status, events, isFast]).toEqual([200, [expect.objectContaining({ type: 'token.issued' })], true]);
  });
});

describe('the same answer and the same audit events on both transports:', () => {
  test.each<[string, () => Sent]>([
    ['a wrong secret', () => raw('jwt', body, basic(of('jwt').clientId, 'lys_wrong'))],
    ['the secret of another client', () => raw('jwt', body, basic(of('jwt').clientId, of('many').clientSecret))],
    ['no secret', () => raw('jwt', body, basic(of('jwt').clientId, ''))],
    ['no client', () => ({ body })],
    ['an unknown client', () => raw('jwt', body, basic('unknown', 'secret'))],
    ['a client id only', () => ({ body: `${body}&client_id=${of('jwt').clientId}` })],
    ['a wrong secret in the body', () => inBody('jwt', { client_secret: 'wrong' })],
    ['a public client', () => ({ body: `${body}&client_id=${of('public').clientId}` })],
    ['a secret that has ended', () => inHeader('expired')],
    ['a disabled client', () => inHeader('disabled')],
    ['a disabled client with a wrong secret', () => inBody('disabled', { client_secret: 'wrong' })],
    ['an imported secret that is wrong', () => inBody('imported', { client_secret: `${IMPORTED} ` })],
    ['a wrong imported secret in the header', () => raw('imported', body, basic(of('imported').clientId, 'wrong'))],
    [
      'a percent-encoded secret',
      () => raw('imported', body, basic(of('imported').clientId, encodeURIComponent(IMPORTED))),
    ],
    ['a secret that should have been encoded', () => raw('imported', body, basic(of('imported').clientId, IMPORTED))],
    [
      'a percent-encoded client id',
      () => raw('jwt', body, basic(of('jwt').clientId.replace('-', '%2D'), of('jwt').clientSecret)),
    ],
    ['credentials in both places', () => ({ ...inBody('jwt'), ...basicOnly('jwt') })],
    ['a client id beside the header', () => inHeader('jwt', { client_id: of('jwt').clientId })],
    ['the id of another beside the header', () => inHeader('jwt', { client_id: of('many').clientId })],
    ['an assertion beside the secret', () => inBody('jwt', { client_assertion: 'a.b.c' })],
    [
      'an assertion beside the header',
      () => inHeader('jwt', { client_assertion: 'a.b.c', client_assertion_type: 'x' }),
    ],
    ['a header of nonsense', () => raw('jwt', body, { authorization: 'Basic ####' })],
    ['a header without a colon', () => raw('jwt', body, { authorization: `Basic ${btoa('nocolon')}` })],
    [
      'a scheme in other letters',
      () =>
        raw('jwt', body, { authorization: inHeader('jwt').headers?.authorization?.replace('Basic', 'bAsIc') ?? '' }),
    ],
    ['a bearer token', () => raw('jwt', body, { authorization: 'Bearer x' })],
    [
      'two blanks in the header',
      () => raw('jwt', body, { authorization: inHeader('jwt').headers?.authorization?.replace(' ', '  ') ?? '' }),
    ],
    ['unknown scopes only', () => inHeader('jwt', { scope: 'nonsense' })],
    ['scopes beyond the policy only', () => inHeader('jwt', { scope: 'delete' })],
    ['openid', () => inHeader('jwt', { scope: 'openid' })],
    ['an empty scope', () => inHeader('jwt', { scope: '' })],
    ['a scope of blanks', () => inHeader('jwt', { scope: '  ' })],
    ['a scope with two blanks', () => inHeader('jwt', { scope: 'read  write' })],
    ['a scope with a blank behind it', () => inHeader('jwt', { scope: 'read ' })],
    ['a scope with characters that it may not have', () => inHeader('jwt', { scope: 'read "write"' })],
    ['a scope with a tab', () => inHeader('jwt', { scope: 'read\twrite' })],
    ['an unknown resource', () => inHeader('jwt', { resource: 'https://unknown.example' })],
    ['a resource without a policy row', () => inHeader('jwt', { resource: OPAQUE })],
    ['a resource with a fragment', () => inHeader('jwt', { resource: `${JWT}#x` })],
    ['a resource that is no URL', () => inHeader('jwt', { resource: 'nonsense' })],
    ['a resource in capitals', () => inHeader('jwt', { resource: JWT.toUpperCase() })],
    ['a resource with two slashes', () => inHeader('jwt', { resource: `${JWT}//` })],
    ['an empty resource', () => inHeader('jwt', { resource: '' })],
    ['two resources', () => raw('many', `${body}&resource=${JWT}&resource=${OPAQUE}`)],
    ['one resource twice', () => raw('jwt', `${body}&resource=${JWT}&resource=${JWT}`)],
    ['several resources to choose from', () => inHeader('many')],
    ['no policy row at all', () => inHeader('none')],
    ['a policy row without scopes', () => inHeader('no scopes')],
    ['a grant type that it may not use', () => inHeader('code only')],
    ['another grant type', () => inHeader('jwt', { grant_type: 'authorization_code', code: 'x' })],
    ['an unknown grant type', () => inHeader('jwt', { grant_type: 'password' })],
    ['a grant type in capitals', () => inHeader('jwt', { grant_type: 'CLIENT_CREDENTIALS' })],
    ['no grant type', () => raw('jwt', 'scope=read')],
    ['the grant type twice', () => raw('jwt', `${body}&${body}`)],
    ['the scope twice', () => raw('jwt', `${body}&scope=read&scope=write`)],
    ['an unknown parameter', () => inHeader('jwt', { nonsense: 'x' })],
    ['an audience', () => inHeader('jwt', { audience: OPAQUE })],
    ['parameters that end in brackets', () => raw('jwt', `${body}&scope[]=read&resource[0]=${JWT}`)],
    ['__proto__', () => raw('jwt', `${body}&__proto__=x&constructor=y`)],
    ['NUL', () => raw('jwt', `${body}&scope=read%00`)],
    ['NUL in the resource', () => inHeader('jwt', { resource: `${JWT}\0` })],
    ['a broken escape', () => raw('jwt', `${body}&scope=read%zz`)],
    ['half a character', () => raw('jwt', `${body}&scope=read%C3`)],
    ['a semicolon', () => raw('jwt', `${body};scope=read`)],
    ['garbage bytes', () => raw('jwt', Buffer.from([0xff, 0xfe, 0x00, 0x26, 0x3d, 0x80]))],
    [
      'a byte that is no UTF-8',
      () => raw('jwt', Buffer.concat([Buffer.from(`${body}&scope=read`), Buffer.from([0xff])])),
    ],
    ['an empty body', () => raw('jwt', '')],
    ['too long a body', () => raw('jwt', `${body}&x=${'y'.repeat(60_000)}`)],
    ['a body that is long for this path', () => raw('jwt', `${body}&scope=read&nonsense=${'y'.repeat(9_000)}`)],
    ['a chunked body', () => ({ ...inHeader('jwt'), isChunked: true })],
    ['JSON', () => raw('jwt', JSON.stringify(CC), { 'content-type': 'application/json' })],
    ['a form that says it is JSON', () => raw('jwt', body, { 'content-type': 'application/json' })],
    ['a form that says it is text', () => raw('jwt', body, { 'content-type': 'text/plain' })],
    [
      'a charset that is none of ours',
      () => raw('jwt', body, { 'content-type': 'application/x-www-form-urlencoded; charset=utf-16' }),
    ],
    ['a compressed body', () => raw('jwt', body, { 'content-encoding': 'gzip' })],
    ['GET', () => ({ ...inHeader('jwt'), method: 'GET' })],
    ['PUT', () => ({ ...inHeader('jwt'), method: 'PUT' })],
    ['an Origin', () => inHeader('jwt', {}, { origin: 'https://evil.example' })],
    ['a DPoP proof', () => inHeader('jwt', {}, { dpop: 'x.y.z' })],
    ['a foreign Host', () => inHeader('jwt', {}, { host: 'evil.example' })],
  ])('%s', async (_name, sent) => {
    await sameAtToken(sent());
  });
});

const basicOnly = (name: string) => ({ headers: basic(of(name).clientId, of(name).clientSecret) });

describe('an imported secret costs', () => {
  const verify = jest.spyOn(argon2, 'verify');
  const runs = async (sent: Sent) => {
    verify.mockClear();
    const { status } = await sameAtToken(sent);
    return [status, verify.mock.calls.length];
  };

  test('one argon2 run for a wrong one on each transport', async () => {
    for (const guess of ['a wrong secret', 'another-wrong-secret']) {
      expect(await runs(inBody('imported', { client_secret: guess }))).toEqual([401, 2]);
    }
    expect(await runs(raw('imported', body, basic(of('imported').clientId, 'plainly-wrong')))).toEqual([401, 2]);
  });

  test('one run for the right one, and then none', async () => {
    await importSecret(of('imported'), 'quite-another-secret');
    const sent = inBody('imported', { client_secret: 'quite-another-secret' });
    expect(await runs(sent)).toEqual([200, 1]);
    expect(await runs(sent)).toEqual([200, 0]);
  });
});
