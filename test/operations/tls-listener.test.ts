// Our own TLS listener by itself: what it offers, which authorities count, and a certificate that is renewed while it runs.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Agent, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, TLSSocket } from 'node:tls';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { createLog } from '../../src/log.ts';
import { openTlsListener, type TlsListener } from '../../src/server/tls-listener.ts';
import { type Certificate, makeCertificate } from '../support/certificates.ts';
import { eventually } from '../support/patience.ts';

const before = makeCertificate({ subject: [['CN', 'before']], dns: ['localhost'], isAuthority: true });
const after = makeCertificate({ subject: [['CN', 'after']], dns: ['localhost'], isAuthority: true });
const authority = makeCertificate({ subject: [['CN', 'Corner Authority']], isAuthority: true });
const client = makeCertificate({ subject: [['CN', 'shop']], issuer: authority });

let folder: string;
let listener: TlsListener | undefined;
const logLines: string[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lanyard-tls-'));
  await write({ cert: before.cert, key: before.key, ca: authority.cert });
  logLines.length = 0;
});
afterEach(async () => {
  await listener?.stopReading();
  listener?.server.closeAllConnections();
  listener?.server.close();
  await rm(folder, { recursive: true });
});

async function write(files: Record<string, string>): Promise<void> {
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
}

/** Answers what it knows of the caller. */
function report({ socket }: IncomingMessage, response: ServerResponse): void {
  if (!(socket instanceof TLSSocket)) throw new Error('not over TLS');
  const name = socket.getPeerX509Certificate()?.subject ?? null;
  response.end(JSON.stringify({ name, isVerified: socket.authorized, isResumed: socket.isSessionReused() }));
}

async function listen(clientAuthoritiesFile: string | undefined = join(folder, 'ca')): Promise<number> {
  const files = {
    port: 0,
    certificateFile: join(folder, 'cert'),
    keyFile: join(folder, 'key'),
    clientAuthoritiesFile,
  };
  const log = createLog('trace', { write: (line: string) => void logLines.push(line) });
  listener = await openTlsListener(files, {}, report, log, 20);
  const { server } = listener;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

/** @returns the name in the certificate that the listener shows */
function shake(port: number, options: ConnectionOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: 'localhost', rejectUnauthorized: false, ...options }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

function ask(port: number, agent: Agent, certificate?: Certificate): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const own = certificate && { cert: certificate.cert, key: certificate.key };
    request({ port, host: 'localhost', agent, ca: before.cert, ...own }, async (response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of response) chunks.push(chunk);
      resolve(JSON.parse(Buffer.concat(chunks).toString()));
    })
      .on('error', reject)
      .end();
  });
}

test.each([
  ['CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }],
  ['CBC with SHA-1', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES256-SHA' }],
  ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }],
] as const)(
  '%s is refused (RFC 9325 §4.2): an attacker could decrypt recorded traffic later, or change it',
  async (_name, options) => {
    const port = await listen();
    await expect(shake(port, options)).rejects.toThrow(/handshake failure|protocol version/i);
  },
);

test.each([
  ['TLS 1.2 with GCM', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }],
  ['TLS 1.3', { minVersion: 'TLSv1.3' }],
] as const)('%s is accepted', async (_name, options) => {
  expect(await shake(await listen(), options)).toBe('before');
});

test.each(['TLSv1.2', 'TLSv1.3'] as const)(
  'a client that resumes its session is still the one with the certificate: %s',
  async (version) => {
    const port = await listen();
    const agent = new Agent({ keepAlive: false, minVersion: version, maxVersion: version });
    const seen = { name: 'CN=shop', isVerified: true };
    expect(await ask(port, agent, client)).toEqual({ ...seen, isResumed: false });
    expect(await ask(port, agent, client)).toEqual({ ...seen, isResumed: true });
    agent.destroy();
  },
);

test('without authorities of the operator no client is verified: an attacker can get a certificate from a public one', async () => {
  await write({ ca: '' });
  const port = await listen(undefined);
  const agent = new Agent({ keepAlive: false });
  expect(await ask(port, agent, client)).toMatchObject({ name: 'CN=shop', isVerified: false });
  expect(await ask(port, agent)).toMatchObject({ name: null, isVerified: false });
});

test('a renewed certificate is shown without a restart, and files that do not go together are waited out', async () => {
  const port = await listen();
  expect(await shake(port)).toBe('before');
  await write({ cert: after.cert });
  await eventually(async () => expect(logLines.join()).toContain('it keeps the ones that it has'));
  expect(await shake(port)).toBe('before');
  await write({ key: after.key });
  await eventually(async () => expect(await shake(port)).toBe('after'));
  // What the first context refused, the second one refuses too.
  await expect(shake(port, { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' })).rejects.toThrow();
});

test('a fault of the files that comes back after it was mended is logged again', async () => {
  await listen();
  const faults = () => logLines.filter((line) => line.includes('it keeps the ones that it has')).length;
  await rm(join(folder, 'key'));
  await eventually(() => expect(faults()).toBe(1));
  await write({ cert: after.cert, key: after.key });
  await eventually(() => expect(logLines.join()).toContain('has changed'));
  const former = faults();
  await rm(join(folder, 'key'));
  await eventually(() => expect(faults()).toBe(former + 1));
});
