// All operations, in the order of the report. The admin API is last, because it adds clients.

import { adminCreateClient, adminListClients } from './admin.ts';
import { clientCredentialsJwt, clientCredentialsOpaque } from './client-credentials.ts';
import { discovery, jwks } from './documents.ts';
import { introspectionJwt, introspectionOpaque, introspectionRefreshToken } from './introspection.ts';
import type { Operation } from './operation.ts';
import { codeExchange, login, refreshRotation, userinfo } from './user-tokens.ts';

export const OPERATIONS: readonly Operation[] = [
  clientCredentialsOpaque,
  clientCredentialsJwt,
  introspectionOpaque,
  introspectionJwt,
  introspectionRefreshToken,
  userinfo,
  codeExchange,
  refreshRotation,
  login,
  discovery,
  jwks,
  adminCreateClient,
  adminListClients,
];
