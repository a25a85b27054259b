// The log: pino, JSON lines on stdout. Nothing logs headers, bodies or query strings (see http/request-log), so no secret should reach
// it; the redaction below is the second defence, against members that an error or a library brings along.

import { type DestinationStream, type Logger, pino } from 'pino';
import { standardOutput } from './output/output.ts';

export type Log = Logger;

const SECRET_MEMBERS = [
  'authorization',
  'cookie',
  'set-cookie',
  'password',
  'secret',
  'client_secret',
  'clientSecret',
  'client_assertion',
  'access_token',
  'refresh_token',
  'id_token',
  'token',
  'code',
  'code_verifier',
  'connectionString',
];

export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: createTimestamp(),
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { error: serializeError },
    redact: { paths: SECRET_MEMBERS.flatMap((name) => [`["${name}"]`, `*["${name}"]`]), censor: '[redacted]' },
  };
  if (destination !== undefined) return pino(options, destination);
  const log = pino(options, standardOutput);
  standardOutput.onDropsEnd((lines) => log.warn({ lines }, 'lines of the log were dropped: stdout did not take them'));
  return log;
}

/** pino's isoTime formats the whole date for every line; here only the milliseconds are formatted anew. */
function createTimestamp(): () => string {
  let second = 0;
  let prefix = '';
  return () => {
    const now = Date.now();
    const milliseconds = now % 1000;
    if (now - milliseconds !== second) {
      second = now - milliseconds;
      prefix = `,"time":"${new Date(second).toISOString().slice(0, -4)}`;
    }
    return `${prefix}${String(milliseconds).padStart(3, '0')}Z"`;
  };
}

/** For lines of a fixed set of harmless members, several hundred a second, of which the redaction would be the largest cost. */
export function withoutRedaction(log: Log): Log {
  return log.child({}, { redact: [] });
}

/** An error without the members that libraries attach to it: `pg` puts row values into `detail` and `where`. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof Error) && Object.prototype.toString.call(error) !== '[object Error]') return String(error);
  const { name, message, stack, cause, code } = error as Error & { code?: unknown };
  return {
    name,
    message,
    ...(typeof code === 'string' ? { error_code: code } : {}),
    stack,
    ...(cause === undefined ? {} : { cause: serializeError(cause) }),
  };
}
