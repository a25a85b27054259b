// The HTTP requests of the demo: of operators to the admin API, of apps and APIs to the OAuth endpoints, of apps to APIs.

import type { Observation } from './steps.ts';

export type Json = Readonly<Record<string, unknown>>;

export interface ClientCredentials {
  readonly clientId: string;
  readonly clientSecret: string;
}

export interface Admin {
  request(method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: Json): Promise<Observation<Json>>;
}

/**
 * The admin API with a token of the admin client, until that token expires.
 * @throws Error when the admin client gets no token
 */
export async function createAdmin(issuer: string, admin: ClientCredentials): Promise<Admin> {
  const form = { grant_type: 'client_credentials', resource: `${issuer}/admin` };
  const { observed, value } = await requestToken(issuer, admin, form);
  if (observed !== '200') throw new Error(`${admin.clientId} gets no token from ${issuer}: ${observed}`);
  return {
    async request(method, path, body) {
      const response = await fetch(`${issuer}/admin/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${value.access_token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      return observe(response, ({ code }) => code);
    },
  };
}

export function requestToken(issuer: string, client: ClientCredentials, form: Record<string, string>) {
  return postForm(`${issuer}/oauth2/token`, client, form);
}

/** RFC 7662. The status is always 200; the observation is whether the token is active. */
export async function introspect(issuer: string, caller: ClientCredentials, token: string): Promise<Observation<Json>> {
  const { observed, value } = await postForm(`${issuer}/oauth2/introspect`, caller, { token });
  if (observed !== '200') return { observed, value };
  const members = Object.keys(value).length;
  // RFC 7662 §2.2: the answer about an inactive token has no other member.
  return { observed: value.active === true ? 'active' : members === 1 ? 'inactive' : 'inactive, but told more', value };
}

/** RFC 7009 */
export function revoke(issuer: string, caller: ClientCredentials, token: string): Promise<Observation<Json>> {
  return postForm(`${issuer}/oauth2/revoke`, caller, { token });
}

/** A request of an app to an API. */
export async function callApi(url: string, token?: string): Promise<Observation<Json>> {
  const response = await fetch(url, { headers: token === undefined ? {} : { authorization: `Bearer ${token}` } });
  return observe(response, ({ error }) => error);
}

async function postForm(
  url: string,
  client: ClientCredentials,
  form: Record<string, string>,
): Promise<Observation<Json>> {
  // RFC 6749 §2.3.1: both parts are form-encoded before they are joined.
  const [id, secret] = [client.clientId, client.clientSecret].map((part) =>
    `${new URLSearchParams([['', part]])}`.slice(1),
  );
  const basic = Buffer.from(`${id}:${secret}`).toString('base64');
  const headers = { authorization: `Basic ${basic}` };
  const response = await fetch(url, { method: 'POST', headers, body: new URLSearchParams(form) });
  return observe(response, ({ error }) => error);
}

/** The status, and the error code if there is one: `403 client_not_allowed`. */
async function observe(response: Response, errorOf: (body: Json) => unknown): Promise<Observation<Json>> {
  const text = await response.text();
  const value: Json = text === '' ? {} : JSON.parse(text);
  const error = response.ok ? undefined : errorOf(value);
  return { observed: error === undefined ? `${response.status}` : `${response.status} ${error}`, value };
}
