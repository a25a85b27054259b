// An HTTP server in place of the authorization server: discovery, keys, introspection. The tests
// set its responses, so that they can be ones that Lanyard never sends.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { bindingClaims } from '../../src/client-binding.ts';

export const AUDIENCE = 'https://orders.example.com';

export const PATHS = {
  discovery: '/.well-known/openid-configuration',
  jwks: '/jwks',
  introspection: '/introspect',
} as const;

export interface ReceivedRequest {
  readonly path: string;
  readonly method: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Answer = (req: IncomingMessage, res: ServerResponse) => void;

export interface TinyIssuer {
  readonly issuer: string;
  readonly requests: ReceivedRequest[];
  /** the public keys that it publishes now */
  publishedKeys: JWK[];
  readonly signingKey: CryptoKey;
  countRequests(path: string): number;
  /** Answers a path with a JSON value from now on. */
  answerJson(path: string, value: unknown): void;
  /** Answers a path with a function from now on. */
  answer(path: string, answer: Answer): void;
  /** A token like those of Lanyard, except for the changes; undefined removes a claim. */
  issueJwt(claims?: Record<string, unknown>, header?: Record<string, unknown>): Promise<string>;
  close(): Promise<void>;
}

export async function startTinyIssuer(): Promise<TinyIssuer> {
  const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
  const requests: ReceivedRequest[] = [];
  const answers = new Map<string, Answer>();

  const server = createServer(async (req, res) => {
    const path = req.url ?? '';
    requests.push({ path, method: req.method ?? '', headers: req.headers, body: await text(req) });
    const answer = answers.get(path);
    if (answer === undefined) res.writeHead(404).end();
    else answer(req, res);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  const tiny: TinyIssuer = {
    issuer,
    requests,
    publishedKeys: [{ ...(await exportJWK(publicKey)), kid: 'key-1', alg: 'ES256', use: 'sig' }],
    signingKey: privateKey,
    countRequests: (path) => requests.filter((request) => request.path === path).length,
    answer: (path, answer) => {
      answers.set(path, answer);
    },
    answerJson: (path, value) => {
      answers.set(path, (_req, res) => sendJson(res, value));
    },
    issueJwt: (claims = {}, header = {}) => sign(privateKey, { ...tokenClaims(issuer), ...claims }, header),
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  tiny.answerJson(PATHS.discovery, {
    issuer,
    jwks_uri: `${issuer}${PATHS.jwks}`,
    introspection_endpoint: `${issuer}${PATHS.introspection}`,
  });
  tiny.answer(PATHS.jwks, (_req, res) => sendJson(res, { keys: tiny.publishedKeys }));
  return tiny;
}

export function tokenClaims(issuer: string): Record<string, unknown> {
  const now = nowSeconds();
  return {
    iss: issuer,
    aud: AUDIENCE,
    sub: 'user-1',
    ...bindingClaims('app-a'),
    scope: 'orders:read orders:write',
    iat: now,
    exp: now + 300,
    jti: 'token-1',
  };
}

export function sign(
  key: CryptoKey | Uint8Array,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'key-1', typ: 'at+jwt', ...header }).sign(key);
}

export function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}

export function sendJson(res: ServerResponse, value: unknown): void {
  res.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}
