// The second node of an installation as a client behind the load balancer sees it: other port, same Host.

import { Agent, request } from 'node:http';
import type { TestClient } from './admin.ts';
import type { TestServer } from './server.ts';

export interface OtherNode {
  post(path: string, client: TestClient, form: Record<string, string>): Promise<NodeAnswer>;
  stop(): Promise<void>;
}

export interface NodeAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export async function startOtherNode(server: TestServer): Promise<OtherNode> {
  const twin = await server.startTwin();
  const agent = new Agent({ keepAlive: true });
  const { host } = new URL(server.issuer);
  return {
    post: (path, { clientId, clientSecret }, form) =>
      new Promise((resolve, reject) => {
        const authorization = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
        const headers = { host, authorization, 'content-type': 'application/x-www-form-urlencoded' };
        const sent = request(`${twin.url}${path}`, { method: 'POST', agent, headers }, async (response) => {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk);
          resolve({ status: response.statusCode as number, body: JSON.parse(Buffer.concat(chunks).toString()) });
        });
        sent.on('error', reject);
        sent.end(new URLSearchParams(form).toString());
      }),
    async stop() {
      agent.destroy();
      await twin.stop();
    },
  };
}
