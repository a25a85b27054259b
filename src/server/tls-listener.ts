// Our own TLS listener, for installations without a proxy that terminates TLS. It asks for a client certificate and accepts any, or
// none: whether it authenticates a client depends on that client (RFC 8705 §2). The files are read again when they change, so that
// a renewed certificate needs no restart.

import { readFile } from 'node:fs/promises';
import type { RequestListener, ServerOptions } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { SecureContextOptions } from 'node:tls';
import type { Config } from '../config/config.ts';
import type { Log } from '../log.ts';
import { startPeriodicTask } from '../periodic-task.ts';

export interface TlsListener {
  readonly server: Server;
  readonly port: number;
  /** Ends the reading of the files; the server is closed apart. */
  stopReading(): Promise<void>;
}

type TlsFiles = NonNullable<Config['tls']>;

/** of the files, in PEM */
export interface TlsTexts {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | undefined;
}

const READ_INTERVAL_MS = 60_000;

/** RFC 9325 (BCP 195) §4.2, required by FAPI 2.0 Security Profile §5.2.2. Node would also offer CBC, and RSA without forward secrecy. */
const CIPHERS = [
  ...['TLS_AES_128_GCM_SHA256', 'TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256'],
  ...['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-RSA-AES128-GCM-SHA256'],
  ...['ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-RSA-AES256-GCM-SHA384'],
].join(':');

/**
 * @param known what was in the files when they could be read: root, which may have given that right up since, has read them
 * @returns a server that does not listen yet. @throws Error naming the variable whose file cannot be used
 */
export async function openTlsListener(
  { known, ...files }: TlsFiles & { readonly known?: TlsTexts | undefined },
  options: ServerOptions,
  handler: RequestListener,
  log: Log,
  readIntervalMs = READ_INTERVAL_MS,
): Promise<TlsListener> {
  let current = await readTlsTexts(files).catch((error: unknown) => {
    if (known === undefined) throw error;
    return known;
  });
  let lastFailure: string | undefined;
  let server: Server;
  try {
    const context = contextOf(current);
    server = createServer({ ...options, ...context, requestCert: true, rejectUnauthorized: false }, handler);
  } catch (cause) {
    throw new Error('LANYARD_TLS_CERT_FILE and LANYARD_TLS_KEY_FILE do not go together', { cause });
  }
  const stopReading = startPeriodicTask(
    async () => {
      const fresh = await readTlsTexts(files);
      if (JSON.stringify(fresh) !== JSON.stringify(current)) {
        server.setSecureContext(contextOf(fresh));
        current = fresh;
        log.info('the certificate of the TLS listener has changed');
      }
      lastFailure = undefined;
    },
    {
      intervalMs: readIntervalMs,
      onError(error) {
        // Once, and not each time: those that the account cannot read stay so.
        if (lastFailure === String(error)) return;
        lastFailure = String(error);
        log.error({ error }, 'the files of the TLS listener cannot be used: it keeps the ones that it has');
      },
    },
  );
  return { server, port: files.port, stopReading };
}

/** @throws Error naming the variable whose file cannot be read */
export async function readTlsTexts(files: TlsFiles): Promise<TlsTexts> {
  const [cert, key, ca] = await Promise.all([
    readText('LANYARD_TLS_CERT_FILE', files.certificateFile),
    readText('LANYARD_TLS_KEY_FILE', files.keyFile),
    files.clientAuthoritiesFile === undefined
      ? undefined
      : readText('LANYARD_TLS_CLIENT_CA_FILE', files.clientAuthoritiesFile),
  ]);
  return { cert, key, ca };
}

function contextOf({ cert, key, ca }: TlsTexts): SecureContextOptions {
  // Without a list, OpenSSL would trust the public authorities, from which any client can get a certificate.
  return { cert, key, ca: ca ?? [], minVersion: 'TLSv1.2', ciphers: CIPHERS };
}

async function readText(variable: string, path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${variable} cannot be read: ${error.code}`);
  });
}
