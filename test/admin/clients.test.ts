// Clients and their secrets through the admin API.

import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { introspect, requestToken } from '../support/admin.ts';
import { moveClock, resetClock } from '../support/clock.ts';
import { startTestServer, type TestServer } from '../support/server.ts';

const API = 'https://api.example';
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
  await server.admin.createApi(API, { scopes: ['read'] });
  await server.admin.createApi('https://opaque.example', { scopes: ['read'], access_token_format: 'opaque' });
});
afterAll(() => server.stop());
afterEach(resetClock);

const request: TestServer['admin']['request'] = (...args) => server.admin.request(...args);
const faultyMembers = (body: Record<string, unknown>) =>
  ((body.errors ?? []) as { pointer: string }[]).map((fault) => fault.pointer);

describe('registering', () => {
  test('the secret is in the answer to the registration and nowhere else', async () => {
    const created = await request('POST', '/clients', {
      client_id: 'shop',
      redirect_uris: ['https://shop.example/cb'],
    });
    expect(created.status).toBe(201);
    expect(created.headers.get('location')).toBe('/admin/v1/clients/shop');
    expect(created.body).toMatchObject({
      client_secret_expires_at: 0,
      grant_types: ['authorization_code'],
      response_types: ['code'],
      token_endpoint_auth_method: 'client_secret_basic',
      application_type: 'web',
    });
    expect(created.body).not.toHaveProperty('require_pkce');
    const read = await request('GET', '/clients/shop');
    expect(read.headers.get('etag')).toBe('"1"');
    const listed = await request('GET', '/clients?q=sho');
    const secrets = await request('GET', '/clients/shop/secrets');
    for (const answer of [read, listed, secrets]) {
      expect(JSON.stringify(answer.body)).not.toContain(created.body.client_secret);
      expect(JSON.stringify(answer.body)).not.toMatch(/sha256|argon2/);
    }
  });

  test.each([
    ['an unknown member', { foo: 1, bar: 2 }, ['/foo', '/bar']],
    ['a secret of its own', { client_secret: 'x' }, ['/client_secret']],
    ['a redirect URI with a fragment', { redirect_uris: ['https://a.example/#x'] }, ['/redirect_uris']],
    [
      'a redirect URI that runs a script',
      { application_type: 'native', redirect_uris: ['javascript:alert(1)'] },
      undefined,
    ],
    ['a redirect URI over plain http', { redirect_uris: ['http://a.example/cb'] }, ['/redirect_uris/0']],
    ['no redirect URI', {}, ['/redirect_uris']],
    ['an unknown grant', { grant_types: ['password'] }, ['/grant_types']],
    ['the implicit flow', { response_types: ['token'], redirect_uris: ['https://a.example/cb'] }, ['/response_types']],
    ['HS256 ID tokens', { id_token_signed_response_alg: 'HS256', redirect_uris: ['https://a.example/cb'] }, undefined],
    [
      'client_secret_jwt, which needs a secret that can be read',
      { token_endpoint_auth_method: 'client_secret_jwt', grant_types: ['client_credentials'] },
      ['/token_endpoint_auth_method'],
    ],
    ['keys nowhere', { token_endpoint_auth_method: 'private_key_jwt', grant_types: ['client_credentials'] }, undefined],
    [
      'a symmetric key',
      {
        token_endpoint_auth_method: 'private_key_jwt',
        grant_types: ['client_credentials'],
        jwks: { keys: [{ kty: 'oct', k: 'AAAA' }] },
      },
      ['/jwks'],
    ],
    [
      'a private key',
      {
        token_endpoint_auth_method: 'private_key_jwt',
        grant_types: ['client_credentials'],
        jwks: { keys: [{ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA', d: 'AA' }] },
      },
      ['/jwks'],
    ],
    [
      'client_credentials for a public client',
      { token_endpoint_auth_method: 'none', grant_types: ['client_credentials'] },
      ['/grant_types'],
    ],
    [
      'a public client without PKCE',
      { token_endpoint_auth_method: 'none', require_pkce: false, redirect_uris: ['https://a.example/cb'] },
      ['/require_pkce'],
    ],
    [
      'wrong types',
      { client_name: 3, redirect_uris: 'x', contacts: [1] },
      ['/client_name', '/redirect_uris', '/contacts/0'],
    ],
    ['a name without end', { client_name: 'x'.repeat(201) }, ['/client_name']],
    ['a name with an invisible character', { client_name: 'Shop\u200b' }, ['/client_name']],
    ['an id with spaces', { client_id: 'a b', grant_types: ['client_credentials'] }, ['/client_id']],
  ])('refuses %s', async (_what, metadata, members) => {
    const answer = await request('POST', '/clients', metadata);
    expect(answer).toMatchObject({ status: 400, body: { code: 'validation_failed' } });
    if (members !== undefined) expect(faultyMembers(answer.body)).toEqual(expect.arrayContaining(members));
  });

  test.each([
    ['not JSON', '{', {}, 400, 'malformed_request'],
    ['NUL', '{"client_name":"\\u0000"}', {}, 400, 'malformed_request'],
    ['a form', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'unsupported_media_type'],
    ['a list', '[]', {}, 400, 'validation_failed'],
    ['nothing', '', {}, 400, 'malformed_request'],
    ['too much', JSON.stringify({ client_name: 'x'.repeat(70_000) }), {}, 413, 'content_too_large'],
    ['__proto__', '{"__proto__":{"require_pkce":false}}', {}, 400, 'validation_failed'],
    ['a compressed body', '{}', { 'content-encoding': 'gzip' }, 415, 'unsupported_media_type'],
  ])('a body that is %s gets a clear error', async (_what, body, headers, status, code) => {
    expect(await request('POST', '/clients', body, headers)).toMatchObject({ status, body: { code } });
  });

  test('of ten concurrent registrations of one id, one succeeds, with one secret and one audit event', async () => {
    const body = { client_id: 'once', grant_types: ['client_credentials'] };
    const answers = await Promise.all(Array.from({ length: 10 }, () => request('POST', '/clients', body)));
    expect(answers.map((answer) => answer.status).sort()).toEqual([201, ...Array(9).fill(409)]);
    const { rows } = await server.sql.query(
      `SELECT (SELECT count(*)::int FROM client_secrets WHERE client_id = 'once') AS secrets,
              (SELECT count(*)::int FROM audit_events WHERE client_id = 'once') AS events`,
    );
    expect(rows).toEqual([{ secrets: 1, events: 1 }]);
  });

  test('pages of a growing list contain every client exactly once', async () => {
    const ids = ['page-a', 'page-b', 'page-d', 'page-e'];
    for (const id of ids) await server.admin.createClient({ client_id: id, grant_types: ['client_credentials'] });
    const seen: string[] = [];
    let cursor = '';
    do {
      const { body } = await request('GET', `/clients?q=page-&limit=2${cursor && `&cursor=${cursor}`}`);
      seen.push(...(body.items as { client_id: string }[]).map((item) => item.client_id));
      cursor = (body.next_cursor as string | null) ?? '';
      if (seen.length === 2)
        await server.admin.createClient({ client_id: 'page-c', grant_types: ['client_credentials'] });
    } while (cursor !== '');
    expect(seen).toEqual(['page-a', 'page-b', 'page-c', 'page-d', 'page-e']);
    for (const query of ['limit=0', 'limit=101', 'limit=x', 'limit=1&limit=2', 'x=1', 'cursor=%00', 'q=']) {
      expect((await request('GET', `/clients?${query}`)).status).toBe(400);
    }
  });
});

describe('changing', () => {
  test('a PATCH merges, removes with null, and respects If-Match', async () => {
    await server.admin.createClient({
      client_id: 'change',
      client_name: 'Old',
      redirect_uris: ['https://a.example/cb'],
    });
    const changed = await request(
      'PATCH',
      '/clients/change',
      { client_name: 'New', contacts: ['a@example.com'] },
      { 'if-match': '"1"' },
    );
    expect(changed.headers.get('etag')).toBe('"2"');
    expect(changed.body).toMatchObject({ client_name: 'New', redirect_uris: ['https://a.example/cb'] });
    expect((await request('PATCH', '/clients/change', { contacts: null })).body).not.toHaveProperty('contacts');
    for (const stale of ['"1"', 'rubbish', 'W/"3"']) {
      const answer = await request('PATCH', '/clients/change', { client_name: 'Lost' }, { 'if-match': stale });
      expect(answer).toMatchObject({ status: 412, body: { code: 'precondition_failed' } });
      expect((await request('DELETE', '/clients/change', undefined, { 'if-match': stale })).status).toBe(412);
    }
    expect((await request('GET', '/clients/change')).body.client_name).toBe('New');
  });

  test('of two concurrent changes of the same version one is refused', async () => {
    await server.admin.createClient({ client_id: 'race', grant_types: ['client_credentials'] });
    const change = (name: string) => request('PATCH', '/clients/race', { client_name: name }, { 'if-match': '"1"' });
    const statuses = (await Promise.all([change('a'), change('b')])).map((answer) => answer.status);
    expect(statuses.sort()).toEqual([200, 412]);
  });

  test('another name ends no tokens of a client that has no sector, although it asks for pairwise subjects', async () => {
    const machine = { grant_types: ['client_credentials'], subject_type: 'pairwise' };
    const client = await server.admin.createClient(machine);
    await server.admin.allow(client.clientId, API, ['read']);
    const { body } = await requestToken(server.issuer, client);
    const path = `/clients/${client.clientId}`;
    expect((await request('PATCH', path, { client_name: 'Nightly job' })).status).toBe(200);
    expect((await introspect(server.issuer, client, String(body.access_token))).body.active).toBe(true);
    const revoked = await request('GET', `/audit-events?type=client.tokens_revoked&client_id=${client.clientId}`);
    expect(revoked.body.items).toEqual([]);
  });

  test('a contradictory change is refused and changes nothing', async () => {
    await server.admin.createClient({ client_id: 'whole', grant_types: ['client_credentials'] });
    expect((await request('PATCH', '/clients/whole', { token_endpoint_auth_method: 'none' })).status).toBe(400);
    expect((await request('GET', '/clients/whole')).headers.get('etag')).toBe('"1"');
  });

  test('a change and its audit event are one transaction: without the event there is no change', async () => {
    await server.admin.createClient({ client_id: 'audited', grant_types: ['client_credentials'] });
    await server.sql.query(`
      CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'disk full'; END $$;
      CREATE TRIGGER refuse BEFORE INSERT ON audit_events FOR EACH ROW
        WHEN (NEW.type = 'client.disabled') EXECUTE FUNCTION refuse_event()`);
    const answer = await request('POST', '/clients/audited/disable');
    expect(answer).toMatchObject({ status: 500, body: { code: 'internal_error' } });
    expect(JSON.stringify(answer.body)).not.toContain('disk full');
    expect((await request('GET', '/clients/audited')).body.disabled).toBe(false);
    await server.sql.query('DROP TRIGGER refuse ON audit_events');
  });
});

describe('secrets', () => {
  const authenticates = async (clientId: string, clientSecret: string) =>
    (await requestToken(server.issuer, { clientId, clientSecret }, { resource: API })).body.error !== 'invalid_client';

  test('after a rotation with overlap both secrets are valid, then only the new one', async () => {
    const { clientId, clientSecret: old } = await server.admin.createClient();
    const { body } = await request('POST', `/clients/${clientId}/secrets`, { overlap_seconds: 60 });
    expect([await authenticates(clientId, old), await authenticates(clientId, body.client_secret as string)]).toEqual([
      true,
      true,
    ]);
    moveClock(60);
    expect([await authenticates(clientId, old), await authenticates(clientId, body.client_secret as string)]).toEqual([
      false,
      true,
    ]);
  });

  test('after a rotation without overlap the old secret is refused at once, and so is a removed one', async () => {
    const { clientId, clientSecret: old } = await server.admin.createClient();
    const { body } = await request('POST', `/clients/${clientId}/secrets`, {});
    expect(await authenticates(clientId, old)).toBe(false);
    expect(await authenticates(clientId, body.client_secret as string)).toBe(true);
    expect((await request('DELETE', `/clients/${clientId}/secrets/${body.id}`)).status).toBe(204);
    expect(await authenticates(clientId, body.client_secret as string)).toBe(false);
    expect((await request('DELETE', `/clients/${clientId}/secrets/${body.id}`)).status).toBe(404);
  });

  test('an imported secret is accepted, stored as argon2id, and its last use is recorded', async () => {
    const { clientId } = await server.admin.createClient();
    const imported = await request('POST', `/clients/${clientId}/secrets`, { secret: 'from the old system' });
    expect(imported.body).not.toHaveProperty('client_secret');
    expect(await authenticates(clientId, 'from the old system')).toBe(true);
    expect(await authenticates(clientId, 'from the old systen')).toBe(false);
    const { rows } = await server.sql.query(
      'SELECT hash FROM client_secrets WHERE client_id = $1 AND expires_at IS NULL',
      [clientId],
    );
    expect(rows[0].hash).toMatch(/^\$argon2id\$/);
    const { body } = await request('GET', `/clients/${clientId}/secrets`);
    expect((body.items as { last_used_at: string | null }[])[0]?.last_used_at).not.toBeNull();
  });

  test('a client that does not authenticate with a secret gets none', async () => {
    const { clientId, clientSecret } = await server.admin.createClient({
      token_endpoint_auth_method: 'none',
      redirect_uris: ['https://a.example/cb'],
    });
    expect(clientSecret).toBe('');
    expect((await request('POST', `/clients/${clientId}/secrets`, {})).status).toBe(409);
  });
});

describe('state', () => {
  test.each([API, 'https://opaque.example'])('disable, enable, revoke-tokens and removal at %s', async (api) => {
    const client = await server.admin.createClient();
    await server.admin.allow(client.clientId, api, ['read']);
    const issue = async () => (await requestToken(server.issuer, client)).body.access_token as string;
    const isActive = async (token: string) => (await introspect(server.issuer, client, token)).body.active;
    const token = await issue();
    expect(await isActive(token)).toBe(true);
    await request('POST', `/clients/${client.clientId}/disable`);
    expect((await requestToken(server.issuer, client)).status).toBe(401);
    await request('POST', `/clients/${client.clientId}/enable`);
    const second = await issue();
    expect([await isActive(token), await isActive(second)]).toEqual([false, true]);

    const revoked = await request('POST', `/clients/${client.clientId}/revoke-tokens`);
    expect(revoked.body.access_tokens).toBe(api === API ? 0 : 1);
    const next = await issue();
    expect([await isActive(second), await isActive(next)]).toEqual([false, true]);

    expect((await request('DELETE', `/clients/${client.clientId}`)).status).toBe(204);
    expect((await request('GET', `/clients/${client.clientId}`)).status).toBe(404);
    const again = { client_id: client.clientId, grant_types: ['client_credentials'] };
    const successor = await server.admin.createClient(again);
    await server.admin.allow(successor.clientId, api, ['read']);
    expect((await introspect(server.issuer, successor, next)).body).toEqual({ active: false });
  });
});
