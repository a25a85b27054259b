// The cost of the rows for an application: a server on each database, over HTTP as in `npm run
// bench`.

import { runRequests } from '../load/closed-load.ts';
import { clientForm, clientHeaders } from '../load/http.ts';
import type { RequestWorkload } from '../load/workload.ts';
import { clientCredentialsOpaque } from '../operations/client-credentials.ts';
import { startLanyard } from '../subjects/lanyard.ts';
import { PATHS, type Subject as Server } from '../subjects/subject.ts';
import { AUDIENCE, clientIdOf, SCOPES, tokenValue } from './fill.ts';
import { below, type Subject } from './measure.ts';

/** The same number of clients on both sides; the cost of many clients is another measurement. */
const CLIENTS_IN_USE = 100;
/** distinct tokens per round, repeated from the first one */
const TOKENS_PER_ROUND = 100_000;

export interface ServedSubject extends Subject {
  readonly server: Server;
}

/** @param folder an empty one */
export async function serve(subject: Subject, folder: string): Promise<ServedSubject> {
  const { url } = subject;
  const server = await startLanyard({ folder, database: { url, postmasterPid: undefined }, userCount: 0 });
  const scopes = SCOPES.split(' ');
  await server.admin?.call('POST', '/resource-servers', {
    identifier: AUDIENCE,
    scopes,
    introspection_client_id: server.fixtures.api.clientId,
  });
  await subject.database.pool.query(
    `INSERT INTO client_grants (client_id, resource_server, scopes) SELECT client_id, $1, $2 FROM unnest($3::text[]) client_id`,
    [AUDIENCE, scopes, Array.from({ length: CLIENTS_IN_USE }, (_, position) => clientIdOf(position))],
  );
  return { ...subject, server };
}

/** A resource server introspects filled-in tokens in random order. @returns the rate per second */
export function introspectTokens(subject: ServedSubject, connections: number, seconds: number): Promise<number> {
  const { tokens, clients, server } = subject;
  const rounds = Math.floor(tokens / clients) || 1;
  const queue = Array.from({ length: TOKENS_PER_ROUND }, () =>
    clientForm(server.fixtures.api, { token: tokenValue(below(rounds) * clients + below(CLIENTS_IN_USE)) }),
  );
  return rate(server, connections, seconds, {
    kind: 'requests',
    method: 'POST',
    path: PATHS.introspection,
    headers: clientHeaders(server.fixtures.api),
    body: { queue },
    wanted: ['"active":true'],
  });
}

/** @returns the rate of opaque tokens per second */
export async function issueTokens({ server }: ServedSubject, connections: number, seconds: number): Promise<number> {
  return rate(
    server,
    connections,
    seconds,
    (await clientCredentialsOpaque.prepare(server, { connections, seconds })) as RequestWorkload,
  );
}

async function rate(server: Server, connections: number, seconds: number, workload: RequestWorkload): Promise<number> {
  const { requests, elapsedMs, faults } = await runRequests(workload, { url: server.url, connections, seconds });
  if (faults.length > 0) throw new Error(`${workload.path}: ${faults.join('; ')}`);
  return (requests * 1000) / elapsedMs;
}
