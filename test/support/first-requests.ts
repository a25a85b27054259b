// The ways in which a user's flow begins: each sends the same parameters, and goes on until there is
// a token.

import { postForm, requestToken, type TestClient } from './admin.ts';
import { approveDevice, DEVICE_GRANT } from './device.ts';
import { ALICE, authorizationUrl, defined, exchange, type Params, REDIRECT_URI } from './oauth.ts';
import type { TestServer } from './server.ts';
import { requestObject, type Signer } from './signing.ts';
import { createUserAgent, goThrough, type PageVisit, pkcePair, type UserAgent } from './user-agent.ts';

/** Members of a client that may use all of them. */
export const EVERY_FLOW = {
  grant_types: ['authorization_code', 'refresh_token', 'client_credentials', DEVICE_GRANT],
  redirect_uris: [REDIRECT_URI],
};

/** A first request that was accepted: what comes of it when the user has signed in and allowed. */
export interface Begun {
  finish(form?: Params): Promise<Record<string, unknown>>;
}

export type First = Begun | { readonly error: string; readonly description: string };

export type FirstRequest = (server: TestServer, client: TestClient, params: Params, signer: Signer) => Promise<First>;

type Code = { readonly verifier: string; readonly parameters: Record<string, string> };

function codeParameters(client: TestClient, params: Params): Code {
  const { verifier, challenge } = pkcePair();
  const pkce = { code_challenge: challenge, code_challenge_method: 'S256' };
  const all = { response_type: 'code', redirect_uri: REDIRECT_URI, client_id: client.clientId, ...pkce, ...params };
  return { verifier, parameters: defined(all) };
}

const refused = (get: (name: string) => unknown): First => {
  return { error: String(get('error')), description: String(get('error_description')) };
};

function fromPage(server: TestServer, client: TestClient, agent: UserAgent, page: PageVisit, verifier: string): First {
  if (page.leavesTo !== undefined) return refused((name) => page.leavesTo?.searchParams.get(name));
  const error = /id="error-code"[^>]*>([^<]*)/.exec(page.html)?.[1];
  if (error !== undefined) return { error, description: page.html };
  return {
    async finish(form) {
      const back = await goThrough(agent, page, ALICE);
      if (back.searchParams.has('error')) return Object.fromEntries(back.searchParams);
      const issued = { code: back.searchParams.get('code') ?? '', verifier, back };
      return (await exchange(server, client, issued, form)).body;
    },
  };
}

async function pushed(server: TestServer, client: TestClient, { verifier }: Code, form: Record<string, string>) {
  const { status, body } = await postForm(`${server.issuer}/oauth2/par`, client, form);
  if (status !== 201) return refused((name) => body[name]);
  return {
    async finish(later?: Params) {
      const agent = createUserAgent(server.issuer);
      const query = new URLSearchParams({ client_id: client.clientId, request_uri: String(body.request_uri) });
      const page = await agent.visit(`${server.issuer}/oauth2/authorize?${query}`);
      const first = fromPage(server, client, agent, page, verifier);
      return 'finish' in first ? first.finish(later) : { error: first.error, error_description: first.description };
    },
  };
}

export const FIRST_REQUESTS: Readonly<Record<string, FirstRequest>> = {
  async 'an authorization request'(server, client, params) {
    const { verifier, parameters } = codeParameters(client, params);
    const agent = createUserAgent(server.issuer);
    const url = authorizationUrl(server.issuer, { scope: undefined, state: undefined, ...parameters });
    return fromPage(server, client, agent, await agent.visit(url), verifier);
  },
  async 'an authorization request by POST'(server, client, params) {
    const { verifier, parameters } = codeParameters(client, params);
    const agent = createUserAgent(server.issuer);
    return fromPage(server, client, agent, await agent.submit('/oauth2/authorize', parameters), verifier);
  },
  async 'a request object'(server, client, params, signer) {
    const { verifier, parameters } = codeParameters(client, params);
    const agent = createUserAgent(server.issuer);
    const request = await requestObject(server.issuer, client.clientId, signer, parameters);
    const { response_type = '', redirect_uri = '' } = parameters;
    const query = new URLSearchParams({ client_id: client.clientId, response_type, redirect_uri, request });
    return fromPage(server, client, agent, await agent.visit(`${server.issuer}/oauth2/authorize?${query}`), verifier);
  },
  async 'a pushed request'(server, client, params) {
    const code = codeParameters(client, params);
    return pushed(server, client, code, code.parameters);
  },
  async 'a pushed request object'(server, client, params, signer) {
    const code = codeParameters(client, params);
    const request = await requestObject(server.issuer, client.clientId, signer, code.parameters);
    return pushed(server, client, code, { client_id: client.clientId, request });
  },
  async 'a device request'(server, client, params) {
    const { status, body } = await postForm(`${server.issuer}/oauth2/device_authorization`, client, defined(params));
    if (status !== 200) return refused((name) => body[name]);
    return {
      async finish(form) {
        // A person who is shown an error instead of the end: the device is told it.
        await approveDevice(server.issuer, String(body.user_code)).catch(() => {});
        const all = { grant_type: DEVICE_GRANT, device_code: String(body.device_code), ...form };
        return (await requestToken(server.issuer, client, defined(all))).body;
      },
    };
  },
};
