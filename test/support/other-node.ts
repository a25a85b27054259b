// The second node of an installation as a client behind the load balancer sees it: other port, same
// Host.

import { Agent, request } from 'node:http';
import type { TestClient } from './admin.ts';
import type { TestServer } from './server.ts';

export interface OtherNode {
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

  function send(method: string, path: string, headers: Record<string, string>, body = ''): Promise<NodeAnswer> {
    return new Promise((resolve, reject) => {
      const sent = request(`${twin.url}${path}`, { method, agent, headers: { host, ...headers } }, async (response) => {
        const chunks: Buffer[] = [];
        for await (const chunk of response) chunks.push(chunk);
        resolve({ status: response.statusCode as number, body: JSON.parse(Buffer.concat(chunks).toString() || '{}') });
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }

  return {
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
