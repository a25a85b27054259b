// Tokens by client_credentials.

import { JWT_API, OPAQUE_API } from '../fixtures.ts';
import { clientForm, clientHeaders } from '../load/http.ts';
import type { RequestWorkload } from '../load/workload.ts';
import type { Subject } from '../subjects/subject.ts';
import { ALL_SUBJECTS, BOTH, type Operation } from './operation.ts';

export const clientCredentialsOpaque: Operation = {
  id: 'client-credentials-opaque',
  title: 'client_credentials, opaque token',
  measuredOn: ALL_SUBJECTS,
  prepare: async (subject) =>
    workload(subject, subject.name === 'foreign' ? {} : { resource: OPAQUE_API }, '"access_token":"'),
};

export const clientCredentialsJwt: Operation = {
  id: 'client-credentials-jwt',
  title: 'client_credentials, JWT',
  measuredOn: BOTH,
  // `{"` in base64url, the start of a JWT
  prepare: async (subject) => workload(subject, { resource: JWT_API }, '"access_token":"eyJ'),
};

function workload(subject: Subject, fields: Record<string, string>, wanted: string): RequestWorkload {
  const { service } = subject.fixtures;
  return {
    kind: 'requests',
    method: 'POST',
    path: subject.paths.token,
    headers: clientHeaders(service),
    body: clientForm(service, { grant_type: 'client_credentials', ...fields }),
    wanted: [wanted],
  };
}
