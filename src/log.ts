// The log: pino, JSON lines on stdout. Secrets do not get this far, because nothing logs headers, bodies or query strings
// (see http/request-log); the redaction below is the second wall, for members that an error or a library might carry along.

import { type DestinationStream, type Logger, pino } from 'pino';

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
  return pino(options, destination ?? standardOutput());
}

/** pino's isoTime formats the whole date for every line; here only the milliseconds are new. */
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

/** One system call for all lines of one turn of the event loop, instead of one for each. */
function standardOutput(): DestinationStream {
  const output = pino.destination({ fd: 1, sync: true });
  let lines: string[] = [];
  const flush = () => {
    const written = lines.join('');
    lines = [];
    if (written !== '') output.write(written);
  };
  process.on('exit', flush);
  return {
    write(line) {
      if (lines.push(line) === 1) setImmediate(flush);
    },
  };
}

/** For lines that are made of a fixed set of harmless members, several hundred a second: looking for secrets costs most then. */
export function withoutRedaction(log: Log): Log {
  return log.child({}, { redact: [] });
}

/** An error without the members libraries attach to it: `pg` puts row values into `detail` and `where`. */
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
