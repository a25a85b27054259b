// The admin API as the tests call it: raw `fetch` with a token of lanyard-admin, and functions for
// what most tests need first.

export interface Answer<Body = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Body;
}

export interface TestClient {
  readonly clientId: string;
  /** '' for a client without a secret */
  readonly clientSecret: string;
}

export interface AdminClient {
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  token(): Promise<string>;
  /** The next request gets a new token. */
  forgetToken(): void;
  /** Registers a client; the default is a confidential one with client_credentials. */
  createClient(metadata?: Record<string, unknown>): Promise<TestClient>;
  /** Registers a resource server. */
  createApi(identifier: string, members?: Record<string, unknown>): Promise<void>;
  /** Sets the policy row. */
  allow(clientId: string, identifier: string, scopes: readonly string[]): Promise<void>;
  createUser(username: string, password: string, members?: Record<string, unknown>): Promise<string>;
}

export function createAdminClient(issuer: string, secret: string): AdminClient {
  let token: Promise<string> | undefined;

  async function fetchToken(): Promise<string> {
    const answer = await requestToken(issuer, { clientId: 'lanyard-admin', clientSecret: secret });
    if (answer.status !== 200) throw new Error(`no admin token: ${JSON.stringify(answer.body)}`);
    return answer.body.access_token as string;
  }

  async function request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    token ??= fetchToken();
    const response = await fetch(`${issuer}/admin/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${await token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return toAnswer(response);
  }

  async function expecting(status: number, method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await request(method, path, body);
    if (answer.status !== status) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer;
  }

  return {
    request,
    token: () => (token ??= fetchToken()),
    forgetToken() {
      token = undefined;
    },
    async createClient(metadata = { grant_types: ['client_credentials'] }) {
      const { body } = await expecting(201, 'POST', '/clients', metadata);
      return { clientId: body.client_id as string, clientSecret: (body.client_secret as string | undefined) ?? '' };
    },
    async createApi(identifier, members = {}) {
      await expecting(201, 'POST', '/resource-servers', { identifier, ...members });
    },
    async allow(clientId, identifier, scopes) {
      const path = `/resource-servers/${encodeURIComponent(identifier)}/clients/${encodeURIComponent(clientId)}`;
      const answer = await request('PUT', path, { scopes });
      if (answer.status >= 300) throw new Error(`PUT ${path}: ${JSON.stringify(answer.body)}`);
    },
    async createUser(username, password, members = {}) {
      const { body } = await expecting(201, 'POST', '/users', { username, password, ...members });
      return body.id as string;
    },
  };
}

export async function toAnswer(response: Response): Promise<Answer> {
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    headers: response.headers,
    body: isJson && text !== '' ? JSON.parse(text) : { text },
  };
}

/** A form POST with client_secret_basic; a client without a secret names itself in the form. */
export async function postForm(
  url: string,
  client: TestClient | undefined,
  form: Record<string, string> | URLSearchParams,
  moreHeaders: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const body = new URLSearchParams(form);
  const headers: Record<string, string> = { ...moreHeaders };
  if (client !== undefined && client.clientSecret !== '') {
    // RFC 6749 §2.3.1: both parts are form-encoded before they are joined
    const encode = (text: string) => new URLSearchParams([['', text]]).toString().slice(1);
    const pair = `${encode(client.clientId)}:${encode(client.clientSecret)}`;
    headers.authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
  } else if (client !== undefined) {
    body.set('client_id', client.clientId);
  }
  return toAnswer(await fetch(url, { method: 'POST', headers, body, redirect: 'manual' }));
}

/** POST /oauth2/token; client_credentials unless the form says otherwise. */
export function requestToken(
  issuer: string,
  client: TestClient,
  form: Record<string, string> = {},
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return postForm(`${issuer}/oauth2/token`, client, { grant_type: 'client_credentials', ...form }, headers);
}

export function introspect(issuer: string, caller: TestClient, token: string): Promise<Answer> {
  return postForm(`${issuer}/oauth2/introspect`, caller, { token });
}

export function revoke(issuer: string, caller: TestClient, token: string): Promise<Answer> {
  return postForm(`${issuer}/oauth2/revoke`, caller, { token });
}
