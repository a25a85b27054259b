// The short way to an answer. Most requests to the token, introspection and userinfo endpoints are plain: nothing unusual in them,
// a client that is known, everything about it as it should be. They are answered here without the engine's request pipeline
// and without Koa, which together cost more than the work itself, with the engine's models, our binding hooks and our policies.
//
// This path only ever says yes. Whatever is unusual about a request (another way to authenticate, a parameter more or twice, an
// Origin, a wrong secret, a token we do not recognise, any error at all) is left to the engine, unchanged, and gets the
// engine's answer. test/provider/short-path* send the same requests down both ways and compare.

import type { IncomingMessage, ServerResponse } from 'node:http';

/** What one endpoint answers to plain requests. */
export interface FastEndpoint {
  /** whether the request line and the headers are plain; whoever says yes reads the body */
  takes(request: IncomingMessage): boolean;
  /** @returns undefined to leave the request to the engine; an error does that too */
  answer(request: IncomingMessage): Promise<object | undefined>;
  /** those that the engine lets a browser app read at this endpoint */
  readonly exposedHeaders: string;
}

/** @returns undefined if the request is not plain, at once; otherwise whether it has been answered */
export type FastPath = (request: IncomingMessage, response: ServerResponse) => Promise<boolean> | undefined;

export interface FastPathDeps {
  /** by path */
  readonly answers: Readonly<Record<string, FastEndpoint>>;
  /** what every answer carries: names and values by turns */
  readonly rawHeaders: (request: IncomingMessage) => readonly string[];
}

/** Headers that change what the engine does with a request. */
const MEANINGFUL_HEADERS = ['origin', 'dpop', 'oauth-client-attestation', 'transfer-encoding', 'content-encoding'];

export function createFastPath({ answers, rawHeaders }: FastPathDeps): FastPath {
  const byPath = new Map(Object.entries(answers));

  async function tryToAnswer(
    short: FastEndpoint,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<boolean> {
    const text = await textOf(short, request).catch(() => undefined);
    if (text === undefined) {
      // The engine meets the same trouble, and has the words for it; or it is over by then. The input gate hands the form back.
      return false;
    }
    const sizeBytes = Buffer.byteLength(text);
    response.writeHead(200, [
      ...rawHeaders(request),
      // What the engine sets at these endpoints.
      ...['Vary', 'Origin', 'Access-Control-Allow-Origin', '*', 'Access-Control-Expose-Headers', short.exposedHeaders],
      ...['Cache-Control', 'no-store', 'Content-Type', 'application/json; charset=utf-8'],
      ...['Content-Length', String(sizeBytes)],
    ]);
    response.end(text, sizeBytes === text.length ? 'latin1' : 'utf8');
    return true;
  }

  return (request, response) => {
    // Only the path that the discovery document names, without a query.
    const short = byPath.get(request.url ?? '');
    if (short === undefined || !short.takes(request) || !isOrdinary(request)) return undefined;
    return tryToAnswer(short, request, response);
  };
}

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** @returns a handler that takes the short way where there is one. An answer that breaks off must not end the process. */
export function fastPathFirst(
  short: FastPath,
  { long, onBrokenOff }: { readonly long: Handler; readonly onBrokenOff: (error: unknown) => void },
): Handler {
  return (request, response) => {
    const answered = short(request, response);
    if (answered === undefined) return long(request, response);
    answered
      .then((isAnswered) => isAnswered || long(request, response))
      .catch((error: unknown) => {
        onBrokenOff(error);
        response.destroy();
      });
  };
}

async function textOf(short: FastEndpoint, request: IncomingMessage): Promise<string | undefined> {
  const body = await short.answer(request);
  return body && JSON.stringify(body);
}

function isOrdinary({ headers }: IncomingMessage): boolean {
  return MEANINGFUL_HEADERS.every((name) => headers[name] === undefined);
}
