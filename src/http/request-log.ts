// One log line per request: method, path, status, duration, request id. Never headers, bodies or
// the query string, which carry codes, tokens and state. The request id is also sent to the caller,
// and set as a header of the request, from which audit events take it.

import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Log, withoutRedaction } from '../log.ts';
import type { Endpoint } from '../metrics/endpoints.ts';
import type { Metrics } from '../metrics/metrics.ts';

export const REQUEST_ID_HEADER = 'x-request-id';

export function requestId({ req }: { readonly req: IncomingMessage }): string {
  return String(req.headers[REQUEST_ID_HEADER]);
}

export interface RequestLogDeps {
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'observeRequest'>;
  readonly endpointOf: (path: string) => Endpoint;
}

/** Called when a request has arrived: gives it an id, and logs it when its response has ended. */
export type LogRequest = (request: IncomingMessage, response: ServerResponse) => void;

export function createRequestLog({ metrics, endpointOf, ...deps }: RequestLogDeps): LogRequest {
  const log = withoutRedaction(deps.log);
  return (request, response) => {
    const startedAt = performance.now();
    const id = randomUUID();
    request.headers[REQUEST_ID_HEADER] = id;
    const path = pathOf(request);
    response.once('close', () => {
      const durationMs = performance.now() - startedAt;
      const isComplete = response.writableFinished;
      metrics.observeRequest(endpointOf(path), isComplete ? response.statusCode : 0, durationMs / 1000);
      const line = {
        request_id: id,
        method: request.method,
        path: loggablePath(path),
        // What was not sent has no status.
        ...(response.headersSent ? { status: response.statusCode } : {}),
        duration_ms: Math.round(durationMs),
        ...(isComplete ? {} : { aborted: true }),
      };
      if (path.startsWith('/health/')) log.debug(line, 'request');
      else log.info(line, 'request');
    });
  };
}

/** Of a target that the request prelude has read. */
function pathOf({ url = '/' }: IncomingMessage): string {
  const end = url.indexOf('?');
  return end === -1 ? url : url.slice(0, end);
}

const WITH_INTERACTION = /^(\/(?:interaction|oauth2\/authorize)\/)[^/]+/;
const MAX_PATH_CHARACTERS = 200;

/** The id of an interaction, together with its cookie, continues a login: it is not logged. */
function loggablePath(path: string): string {
  const loggable = WITH_INTERACTION.test(path) ? path.replace(WITH_INTERACTION, '$1…') : path;
  return loggable.length > MAX_PATH_CHARACTERS ? loggable.slice(0, MAX_PATH_CHARACTERS) : loggable;
}
