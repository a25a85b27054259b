// The second node of an installation as a client behind the load balancer sees it: other port, same
// Host.

import { Agent, request } from 'node:http';
import type { TestClient } from './admin.ts';
import type { TestServer } from './server.ts';

export interface OtherNode {
  /** Like fetch, for an address of the issuer; redirects are not followed. */
  fetch(url: URL, init: RequestInit): Promise<Response>;
  get(path: string, headers?: Record<string, string>): Promise<NodeAnswer>;
  post(
    path: string,
    client: TestClient,
    form: Record<string, string>,
    headers?: Record<string, string>,
  ): Promise<NodeAnswer>;
  /** DELETE, with a token */
  remove(path: string, token: string): Promise<NodeAnswer>;
  stop(): Promise<void>;
}

export interface NodeAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export async function startOtherNode(server: TestServer, env?: Record<string, string>): Promise<OtherNode> {
  const twin = await server.startTwin(env);
  const agent = new Agent({ keepAlive: true });
  const { host } = new URL(server.issuer);

  function fetchThere({ pathname, search }: URL, { method, headers, body }: RequestInit): Promise<Response> {
    return new Promise((resolve, reject) => {
      const options = { method: method ?? 'GET', agent, headers: { ...(headers as Record<string, string>), host } };
      const sent = request(`${twin.url}${pathname}${search}`, options, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk);
        const received = new Headers();
        for (const [name, values = []] of Object.entries(response.headersDistinct)) {
          for (const value of values) received.append(name, value);
        }
        const content = chunks.length === 0 ? null : Buffer.concat(chunks).toString();
        resolve(new Response(content, { status: response.statusCode as number, headers: received }));
      });
      sent.on('error', reject);
      sent.end(body === undefined || body === null ? '' : String(body));
    });
  }

  async function send(method: string, path: string, headers: Record<string, string>, body = ''): Promise<NodeAnswer> {
    const response = await fetchThere(new URL(path, server.issuer), { method, headers, body });
    return { status: response.status, body: JSON.parse((await response.text()) || '{}') };
  }

  return {
    fetch: fetchThere,
    get: (path, headers = {}) => send('GET', path, headers),
    post(path, { clientId, clientSecret }, form, additional) {
      const isPublic = clientSecret === '';
      const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
      const headers = {
        ...(isPublic ? {} : { authorization }),
        'content-type': 'application/x-www-form-urlencoded',
        ...additional,
      };
      const all = isPublic ? { ...form, client_id: clientId } : form;
      return send('POST', path, headers, new URLSearchParams(all).toString());
    },
    remove: (path, token) => send('DELETE', path, { authorization: `Bearer ${token}` }),
    async stop() {
      agent.destroy();
      await twin.stop();
    },
  };
}
