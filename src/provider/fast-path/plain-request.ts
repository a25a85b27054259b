// Plain forms of the short path: each parameter once, nothing in it that two parsers could read differently, and the client that
// sends it, if it is one that we can recognise at once.

import type { IncomingMessage } from 'node:http';
import type Provider from 'oidc-provider';
import type { Client } from 'oidc-provider';
import type { ClientAdapter } from '../clients/client-adapter.ts';
import { isForm, readFormBody } from '../http/form-body.ts';

export interface PlainForm {
  readonly client: Client;
  /** each once, none empty; without those of client authentication */
  readonly params: ReadonlyMap<string, string>;
}

export interface PlainFormDeps {
  readonly provider: Provider;
  readonly clientAdapter: Pick<ClientAdapter, 'isSecretOf'>;
}

/** Longer ones are rare enough to be left to the engine. */
const MAX_BODY_BYTES = 8 * 1024;
/** What every parser of forms reads in the same way. */
const PLAIN_FORM = /^(?:[\w.~*&=+:/@,!'()-]|%[0-7][0-9a-fA-F])+$/;

export function announcesPlainForm(request: IncomingMessage): boolean {
  const length = Number(request.headers['content-length']);
  return length > 0 && length <= MAX_BODY_BYTES && isForm(request);
}

/** @returns undefined if it is not plain, or its client is not recognised */
export async function readPlainForm(deps: PlainFormDeps, request: IncomingMessage): Promise<PlainForm | undefined> {
  const body = await readFormBody(request);
  const params = body === undefined ? undefined : readParams(body);
  if (params === undefined) return undefined;
  const client = await recognise(deps, request, params);
  if (client === undefined) return undefined;
  params.delete('client_id');
  params.delete('client_secret');
  return { client, params };
}

/** Each parameter once (RFC 6749 §3.1), none empty. */
function readParams(body: string): Map<string, string> | undefined {
  if (!PLAIN_FORM.test(body)) return undefined;
  const params = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(body)) {
    if (params.has(name) || value === '') return undefined;
    params.set(name, value);
  }
  return params;
}

/** RFC 6749 §2.3.1: a secret in the Authorization header or in the body, in one of them; §3.2.1: a public client names itself. */
async function recognise(
  { provider, clientAdapter }: PlainFormDeps,
  request: IncomingMessage,
  params: ReadonlyMap<string, string>,
): Promise<Client | undefined> {
  const { authorization } = request.headers;
  const inBody = params.has('client_id') || params.has('client_secret');
  if (inBody === (authorization !== undefined) || params.has('client_assertion')) return undefined;
  const [clientId, secret] = inBody
    ? [params.get('client_id'), params.get('client_secret')]
    : readBasic(authorization as string);
  // Who describes itself at an address is what its document says now, which the engine asks for (document-notes).
  if (clientId === undefined || clientId.startsWith('https://')) return undefined;
  const client = await provider.Client.find(clientId);
  const method = client?.clientAuthMethod;
  if (method === 'none') return inBody && secret === undefined ? client : undefined;
  if (secret === undefined || (method !== 'client_secret_basic' && method !== 'client_secret_post')) return undefined;
  return (await clientAdapter.isSecretOf(request, clientId, secret)) ? client : undefined;
}

/** Only what needs no decoding of its own: RFC 6749 §2.3.1 wants both parts form-encoded. */
function readBasic(authorization: string): [string | undefined, string | undefined] {
  const [, encoded] =
    /^Basic ((?:[A-Za-z0-9+/]{4})+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(authorization) ?? [];
  const [, clientId, secret] =
    /^([\w.~-]+):([\w.~-]+)$/.exec(Buffer.from(encoded ?? '', 'base64').toString('latin1')) ?? [];
  return [clientId, secret];
}
