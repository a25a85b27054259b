// The admin API. The bare engine has none, so there is no comparison.

import { METADATA } from '../fixtures.ts';
import type { AdminApi } from '../subjects/subject.ts';
import type { Operation } from './operation.ts';

export const adminCreateClient: Operation = {
  id: 'admin-create-client',
  title: 'admin API: register a client',
  measuredOn: ['lanyard'],
  prepare: async ({ admin }) => ({
    kind: 'requests',
    method: 'POST',
    path: '/admin/v1/clients',
    headers: { 'content-type': 'application/json', authorization: await (admin as AdminApi).authorization() },
    body: JSON.stringify(METADATA.service),
    wanted: ['"client_secret":"'],
  }),
};

export const adminListClients: Operation = {
  id: 'admin-list-clients',
  title: 'admin API: list clients, 50 a page',
  measuredOn: ['lanyard'],
  prepare: async ({ admin }) => ({
    kind: 'requests',
    method: 'GET',
    path: '/admin/v1/clients?limit=50',
    headers: { authorization: await (admin as AdminApi).authorization() },
    wanted: ['"client_id":"'],
  }),
};
