// The cost of many clients: CPU of Node and PostgreSQL per client_credentials token, with the same
// load from one client and from all clients in turn.

import { METADATA, OPAQUE_API } from '../fixtures.ts';
import { FORM, inParallel } from '../load/http.ts';
import { median, type RequestWorkload } from '../load/workload.ts';
import { allow } from '../subjects/lanyard.ts';
import type { AdminApi, Subject } from '../subjects/subject.ts';
import { runWorkload } from './rounds.ts';

export interface ManyClients {
  readonly clientCount: number;
  /** undefined where /proc does not exist */
  readonly oneClientCpuUs: number | undefined;
  readonly manyClientsCpuUs: number | undefined;
}

const CONNECTIONS = 64;
const REGISTRATIONS_AT_ONCE = 16;

export async function measureManyClients(
  lanyard: Subject,
  options: { readonly rounds: number; readonly seconds: number; readonly clientCount: number },
): Promise<ManyClients> {
  const bodies = await register(lanyard.admin as AdminApi, options.clientCount);
  const cpuUs = { one: [] as number[], many: [] as number[] };
  await measure(lanyard, bodies, options.seconds);
  for (let round = 0; round < options.rounds; round++) {
    const turns = round % 2 === 0 ? (['one', 'many'] as const) : (['many', 'one'] as const);
    for (const turn of turns) {
      const used = await measure(lanyard, turn === 'one' ? bodies.slice(0, 1) : bodies, options.seconds);
      if (used !== undefined) cpuUs[turn].push(used);
    }
  }
  const medianOf = (values: number[]) => (values.length === 0 ? undefined : median(values));
  return {
    clientCount: bodies.length,
    oneClientCpuUs: medianOf(cpuUs.one),
    manyClientsCpuUs: medianOf(cpuUs.many),
  };
}

/** @returns a token request of each client, with the secret in the form, since headers are fixed */
function register(admin: AdminApi, count: number): Promise<string[]> {
  return inParallel(count, REGISTRATIONS_AT_ONCE, async () => {
    const metadata = { ...METADATA.service, token_endpoint_auth_method: 'client_secret_post' };
    const made = await admin.call('POST', '/clients', metadata);
    await allow(admin, OPAQUE_API, String(made.client_id));
    const fields = {
      grant_type: 'client_credentials',
      client_id: String(made.client_id),
      client_secret: String(made.client_secret),
      resource: OPAQUE_API,
    };
    return new URLSearchParams(fields).toString();
  });
}

async function measure(lanyard: Subject, bodies: readonly string[], seconds: number): Promise<number | undefined> {
  const workload: RequestWorkload = {
    kind: 'requests',
    method: 'POST',
    path: '/oauth2/token',
    headers: FORM,
    body: { queue: bodies },
    wanted: ['"access_token":"'],
  };
  const before = await lanyard.processes?.cpu();
  const result = await runWorkload(workload, { url: lanyard.url, connections: CONNECTIONS, seconds });
  const after = await lanyard.processes?.cpu();
  if (result.faults.length > 0) throw new Error(`${bodies.length} clients: ${result.faults.join('; ')}`);
  if (before === undefined || after === undefined) return undefined;
  return ((after.nodeMs - before.nodeMs + after.postgresMs - before.postgresMs) * 1000) / result.requests;
}
