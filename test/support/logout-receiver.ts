// An app with back-channel logout: an HTTP server that keeps the logout tokens it gets.

import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from './patience.ts';

export interface ReceivedNotice {
  readonly path: string;
  readonly contentType: string | undefined;
  readonly logoutToken: string;
}

export interface LogoutReceiver {
  readonly url: string;
  /** `127.0.0.1:<port>` */
  readonly host: string;
  readonly received: ReceivedNotice[];
  /** How it answers; 200 unless told otherwise. */
  answerWith(answer: (response: ServerResponse, notice: ReceivedNotice) => void): void;
  /** Resolves when so many notices have come to this path. */
  wait(path: string, count?: number): Promise<ReceivedNotice[]>;
  close(): void;
}

export async function startLogoutReceiver(): Promise<LogoutReceiver> {
  const received: ReceivedNotice[] = [];
  const ok = (response: ServerResponse) => response.end();
  let answer: (response: ServerResponse, notice: ReceivedNotice) => void = ok;
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    const notice = {
      path: request.url ?? '',
      contentType: request.headers['content-type'],
      logoutToken: form.get('logout_token') ?? '',
    };
    received.push(notice);
    answer(response, notice);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    received,
    answerWith(next) {
      answer = next;
    },
    wait: (path, count = 1) =>
      eventually(() => {
        const found = received.filter((notice) => notice.path === path);
        if (found.length < count) throw new Error(`${found.length} notices at ${path}, not ${count}`);
        return found;
      }),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
