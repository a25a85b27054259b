// Sends requests that no honest client sends, and lists what is wrong with the answers.

import { expect } from '@jest/globals';
import { requestToken, type TestClient } from './admin.ts';
import { OUR_INSIDE } from './garbage.ts';
import { loggedFailures } from './oauth.ts';
import { type OddValue, REFUSED } from './odd-json.ts';
import type { TestServer } from './server.ts';

export interface OddRequest {
  readonly label: string;
  send(): Promise<{ readonly status: number; text(): Promise<string> }>;
  /** the input gate refuses it: a 400 that says this */
  readonly refusedNaming?: string | undefined;
}

/** @param member what the answer names, if the value is one that the input gate refuses */
export function oddRequest(label: string, value: OddValue, member: string, send: OddRequest['send']): OddRequest {
  return { label: `${label} ${value.label}`, send, refusedNaming: REFUSED.includes(value) ? member : undefined };
}

/**
 * Expects that no answer is 5xx and no line of the log an error, that what is refused is a 400 that
 * names the member, that none of it is stored, and that token requests which are sent at the same
 * time go on working.
 * @param honest a client with client_credentials
 */
export async function expectNoFaults(
  server: TestServer,
  honest: TestClient,
  requests: readonly OddRequest[],
): Promise<void> {
  const refused = requests.filter(({ refusedNaming }) => refusedNaming !== undefined);
  const before = await countRows(server);
  const faults = await send(server, honest, refused);
  const stored = await countRows(server);
  faults.push(
    ...(await send(
      server,
      honest,
      requests.filter((each) => !refused.includes(each)),
    )),
  );
  expect(faults).toEqual([]);
  expect(stored).toEqual(before);
}

/** @returns one line for each answer that is not as it should be */
async function send(server: TestServer, honest: TestClient, requests: readonly OddRequest[]): Promise<string[]> {
  const faults: string[] = [];
  for (const request of requests) {
    const from = server.logLines.length;
    const [answer, token] = await Promise.all([request.send(), requestToken(server.issuer, honest)]);
    const found = faultsOf(request, answer.status, await answer.text());
    for (const line of loggedFailures(server, from)) found.push(`logged ${line.slice(0, 300)}`);
    if (token.status !== 200) found.push(`an honest token request got ${token.status}`);
    faults.push(...found.map((fault) => `${request.label}: ${fault}`));
  }
  return faults;
}

function faultsOf({ refusedNaming }: OddRequest, status: number, text: string): string[] {
  const faults: string[] = [];
  const answer = `${status} ${text.slice(0, 300)}`;
  if (status >= 500) faults.push(answer);
  else if (refusedNaming !== undefined && status !== 400) faults.push(`not refused: ${answer}`);
  else if (refusedNaming !== undefined && !text.includes(refusedNaming))
    faults.push(`no ${refusedNaming} in ${answer}`);
  if (OUR_INSIDE.test(text)) faults.push(`shows our inside: ${answer}`);
  return faults;
}

const TABLES = ['clients', 'users', 'resource_servers', 'client_grants', 'oidc_artifacts', 'initial_access_tokens'];

async function countRows(server: TestServer): Promise<unknown> {
  const counts = TABLES.map((table) => `(SELECT count(*)::int FROM ${table}) AS ${table}`);
  const { rows } = await server.sql.query(`SELECT ${counts.join(', ')}`);
  return rows[0];
}
