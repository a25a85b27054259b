// What the engine publishes about itself, the discovery document and its public keys. Both are the
// same for every request and at every origin of ours, since the engine builds its addresses from the
// issuer. So it is asked once, when its keys or the declared types have changed, and not at each
// request.

import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type Provider from 'oidc-provider';
import { createEngineContext } from '../engine-internals.ts';
import { writeDocument } from '../engine-steps.ts';
import { nameDetailsTypes } from '../policy/authorization-details.ts';
import { DISCOVERY_PATHS, ROUTES } from '../routes.ts';

export interface EngineDocument {
  readonly path: string;
  readonly contentType: string;
  readonly text: string;
}

const PATHS: ReadonlySet<string> = new Set([...DISCOVERY_PATHS, ROUTES.jwks]);

/** Whatever its method and query: nothing is judged, so that it needs no database. */
export function isForDocument({ url = '' }: IncomingMessage): boolean {
  const end = url.indexOf('?');
  return PATHS.has(end === -1 ? url : url.slice(0, end));
}

/** @param detailsTypes those that resource servers declare now */
export function engineDocuments(provider: Provider, detailsTypes: readonly string[]): EngineDocument[] {
  const discovery = ask(provider, 'discovery', DISCOVERY_PATHS[0]);
  nameDetailsTypes(discovery.body, detailsTypes);
  const jwks = ask(provider, 'jwks', ROUTES.jwks);
  return [...DISCOVERY_PATHS.map((path) => toDocument(path, discovery)), toDocument(ROUTES.jwks, jwks)];
}

function ask(provider: Provider, name: 'discovery' | 'jwks', path: string) {
  const request = Object.assign(new IncomingMessage(new Socket()), { method: 'GET', url: path });
  const ctx = createEngineContext(provider, request, new ServerResponse(request), name);
  writeDocument(ctx, name);
  return ctx;
}

function toDocument(path: string, { body, response }: ReturnType<typeof ask>): EngineDocument {
  return { path, contentType: response.get('Content-Type'), text: JSON.stringify(body) };
}
