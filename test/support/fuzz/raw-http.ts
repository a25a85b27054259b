// HTTP/1.1 requests byte by byte, since a client library would mend or refuse what a fuzzer sends.

import { connect } from 'node:net';

export type Header = readonly [name: string, value: string];

export interface RawRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly Header[];
  readonly body: Buffer;
}

export interface RawResponse {
  readonly status: number;
  /** names in lower case */
  readonly headers: readonly Header[];
  readonly text: string;
}

/** @returns undefined when the server closes the connection without a complete answer */
export function sendRaw(port: number, request: RawRequest): Promise<RawResponse | undefined> {
  const head = [
    `${request.method} ${request.target} HTTP/1.1`,
    ...request.headers.map(([name, value]) => `${name}: ${value}`),
    ...['', ''],
  ];
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    let received = Buffer.alloc(0);
    const finish = () => {
      socket.destroy();
      resolve(parseResponse(received, request.method));
    };
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      if (parseResponse(received, request.method) !== undefined) finish();
    });
    socket.on('error', finish);
    socket.on('close', finish);
    socket.write(Buffer.concat([Buffer.from(head.join('\r\n'), 'latin1'), request.body]));
    if (isIncomplete(request)) socket.end();
  });
}

/** Whether the server would wait for more than there is. */
export function isIncomplete({ headers, body }: RawRequest): boolean {
  return headers.some(([name, value]) => /^content-length$/i.test(name) && Number(value) > body.length);
}

/** @returns undefined until it is complete. All our answers have a Content-Length, or no body. */
function parseResponse(bytes: Buffer, method: string): RawResponse | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end === -1) return undefined;
  const [statusLine = '', ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n');
  const headers = lines.map((line): Header => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const length = method === 'HEAD' ? 0 : Number(headers.find(([name]) => name === 'content-length')?.[1] ?? 0);
  const body = bytes.subarray(end + 4);
  if (body.length < length) return undefined;
  return { status: Number(statusLine.split(' ')[1]), headers, text: body.subarray(0, length).toString() };
}
