// Introspection of an access token by a resource server, and of a refresh token by its client.
// Every response must be `"active":true`; an inactive one is cheaper.

import { Agent } from 'node:http';
import { type ClientLogin, JWT_API, OPAQUE_API } from '../fixtures.ts';
import { clientForm, clientHeaders, expectJson, postForm } from '../load/http.ts';
import type { RequestWorkload } from '../load/workload.ts';
import type { Subject } from '../subjects/subject.ts';
import { ALL_SUBJECTS, BOTH, type Operation } from './operation.ts';
import { obtainTokens } from './sign-in.ts';

export const introspectionOpaque: Operation = {
  id: 'introspection-opaque',
  title: 'introspection, opaque token',
  measuredOn: ALL_SUBJECTS,
  async prepare(subject) {
    const fields = subject.name === 'foreign' ? {} : { resource: OPAQUE_API };
    return workload(subject, caller(subject), await clientToken(subject, fields));
  },
};

export const introspectionJwt: Operation = {
  id: 'introspection-jwt',
  title: 'introspection, JWT',
  measuredOn: BOTH,
  remark: 'The engine cannot introspect JWTs: its row is the introspection of an opaque token, at the same time.',
  async prepare(subject) {
    const resource = subject.name === 'engine' ? OPAQUE_API : JWT_API;
    return workload(subject, caller(subject), await clientToken(subject, { resource }));
  },
};

export const introspectionRefreshToken: Operation = {
  id: 'introspection-refresh-token',
  title: 'introspection, refresh token',
  measuredOn: BOTH,
  async prepare(subject) {
    const agent = new Agent({ keepAlive: true });
    const [tokens] = await obtainTokens(subject, subject.fixtures.web, 1, agent);
    agent.destroy();
    return workload(subject, subject.fixtures.web, tokens?.refreshToken as string);
  },
};

/** Only one client of a foreign server is known. */
function caller({ name, fixtures }: Subject): ClientLogin {
  return name === 'foreign' ? fixtures.service : fixtures.api;
}

async function clientToken(subject: Subject, fields: Record<string, string>): Promise<string> {
  const form = { grant_type: 'client_credentials', ...fields };
  const answer = await expectJson(200, postForm(subject.url + subject.paths.token, subject.fixtures.service, form));
  return String(answer.access_token);
}

function workload(subject: Subject, client: ClientLogin, token: string): RequestWorkload {
  return {
    kind: 'requests',
    method: 'POST',
    path: subject.paths.introspection,
    headers: clientHeaders(client),
    body: clientForm(client, { token }),
    wanted: ['"active":true'],
  };
}
