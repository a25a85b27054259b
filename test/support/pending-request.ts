// A token request of which the server has read the head alone, for tests of what happens before it is answered.

import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import { json } from 'node:stream/consumers';
import type { TestClient } from './admin.ts';

export interface Answer {
  readonly status: number | undefined;
  /** of the header `Connection` */
  readonly connection: string | undefined;
  readonly body: unknown;
}

export interface PendingRequest {
  /** Sends the body. */
  finish(): Promise<Answer>;
}

/** Resolves when the server has read the head, as its "100 Continue" says. */
export async function beginTokenRequest(port: number, client: TestClient): Promise<PendingRequest> {
  const body = 'grant_type=client_credentials';
  const headers = {
    host: `localhost:${port}`,
    authorization: `Basic ${Buffer.from(`${client.clientId}:${client.clientSecret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
    'content-length': body.length,
    expect: '100-continue',
  };
  const agent = new Agent({ keepAlive: true });
  const outgoing = request({ port, host: '127.0.0.1', agent, method: 'POST', path: '/oauth2/token', headers });
  const response = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  response.catch(() => {});
  outgoing.flushHeaders();
  await once(outgoing, 'continue');
  return {
    async finish() {
      outgoing.end(body);
      const [incoming] = await response;
      const answer = await json(incoming);
      agent.destroy();
      return { status: incoming.statusCode, connection: incoming.headers.connection, body: answer };
    },
  };
}

/** Whether the port refuses connections. */
export function isRefused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1', () => probe.destroy());
    probe.on('close', (hadError) => resolve(hadError));
    probe.on('error', () => {});
  });
}
