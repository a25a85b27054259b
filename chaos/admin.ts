// The admin API as an operator uses it when things break: what is not acknowledged is sent again, to
// any node, until it is.

import { setTimeout as sleep } from 'node:timers/promises';
import { type Installation, reachable } from './installation.ts';
import type { Ledger } from './ledger.ts';
import type { Random } from './random.ts';
import type { Answer } from './sender.ts';

const GIVE_UP_AFTER_MS = 90_000;
const PAUSE_MS = 50;

export interface Admin {
  /**
   * @param type of the audit event that an acknowledged change must have
   * @returns the answer that acknowledges it
   * @throws Error when it is refused, or not acknowledged in the end
   */
  send(method: string, path: string, json?: unknown, type?: string): Promise<Answer>;
}

export function createAdmin(installation: Installation, ledger: Ledger, random: Random): Admin {
  let token: string | undefined;

  async function fetchToken(): Promise<string | undefined> {
    const client = { clientId: 'lanyard-admin', clientSecret: installation.adminSecret };
    const node = random.pick(reachable(installation));
    const { status, body } = await node.ask({
      path: '/oauth2/token',
      client,
      form: { grant_type: 'client_credentials' },
    });
    if (status !== 200 && status !== 503 && status !== 0) throw new Error(`no admin token: ${JSON.stringify(body)}`);
    return body.access_token as string | undefined;
  }

  return {
    async send(method, path, json, type) {
      let isRepeated = false;
      for (const deadline = performance.now() + GIVE_UP_AFTER_MS; performance.now() < deadline; await sleep(PAUSE_MS)) {
        token ??= await fetchToken();
        if (token === undefined) continue;
        const sentWith = token;
        const node = random.pick(reachable(installation));
        const answer = await node.ask({ method, path: `/admin/v1${path}`, bearer: sentWith, json });
        if (answer.status >= 200 && answer.status < 300) {
          // What was done by a request without an answer has its event under another id.
          if (method !== 'GET') ledger.acknowledge(isRepeated ? undefined : answer.requestId, type);
          return answer;
        }
        if (answer.status === 401) {
          // Its key was deleted.
          if (token === sentWith) token = undefined;
          continue;
        }
        const mayBeDone = answer.status === 0 || (answer.status === 503 && answer.retryAfter === null);
        if (isRepeated && (answer.status === 404 || answer.status === 409)) return answer;
        if (!mayBeDone && answer.status !== 503) {
          throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
        }
        isRepeated ||= mayBeDone;
      }
      throw new Error(`${method} ${path} was not acknowledged in ${GIVE_UP_AFTER_MS / 1000} s`);
    },
  };
}
