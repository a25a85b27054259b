// /admin/v1/resource-servers/{identifier}/clients: the policy rows, which list the clients that may
// call an API, with their scopes.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { clientIdField, instant, scopeList, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { getGrant, listGrants } from './grant-store.ts';
import type { ClientGrant } from './resource-server.ts';
import type { ResourceServers } from './resource-servers.ts';
import { getResourceServer } from './store.ts';

const grantSchema = z
  .object({
    client_id: z.string(),
    resource_server: z.string(),
    scopes: z.array(z.string()),
    token_exchange: z.boolean(),
    may_act: z.string().nullable(),
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'ClientGrant' });

const mayExchange = z.boolean('must be true or false').meta({
  description: 'the client may exchange tokens of users for tokens for this API (RFC 8693); false if left out',
});

const mayAct = clientIdField.nullable().meta({
  description:
    'the one client that may exchange tokens of users which this client gets for this API (RFC 8693 §4.4); null: every client with token_exchange',
});

const resourceServerParams = z.strictObject({ identifier: text(500) });
const grantParams = z.strictObject({ identifier: text(500), client_id: clientIdField });
const tag = 'resource servers';
const PATH = '/resource-servers/{identifier}/clients';

export interface ClientGrantRoutesDeps {
  readonly query: Query;
  readonly resourceServers: ResourceServers;
}

export function clientGrantRoutes(deps: ClientGrantRoutesDeps): ApiRoute[] {
  return [listRoute, setRoute, getRoute, removeRoute].map((route) => route(deps));
}

const listRoute = ({ query }: ClientGrantRoutesDeps) =>
  apiRoute({
    operationId: 'listClientGrants',
    method: 'get',
    path: PATH,
    tag,
    scope: 'admin:read',
    summary: 'List the clients that may call a resource server',
    params: resourceServerParams,
    query: z.strictObject(pageQuery),
    answers: { 200: { description: 'A page of policy rows', schema: pageSchema(grantSchema) } },
    async handle({ params, query: filter }) {
      const { identifier } = await getResourceServer(query, params.identifier);
      const page = toPageRequest(filter);
      const found = await listGrants(query, identifier, page);
      return { status: 200, body: toPage(found, page.limit, grantToWire, (grant) => grant.clientId) };
    },
  });

const setRoute = ({ resourceServers }: ClientGrantRoutesDeps) =>
  apiRoute({
    operationId: 'setClientGrant',
    method: 'put',
    path: `${PATH}/{client_id}`,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Let a client call a resource server with these scopes',
    params: grantParams,
    body: z.strictObject({ scopes: scopeList, token_exchange: mayExchange.optional(), may_act: mayAct.optional() }),
    answers: {
      200: { description: 'The replaced policy row', schema: grantSchema },
      201: { description: 'The new policy row', schema: grantSchema },
    },
    async handle({ params, body, ifVersion, by }) {
      const { identifier, client_id: clientId } = params;
      const { scopes, token_exchange: mayExchange = false, may_act } = body;
      const input = { scopes, mayExchange, mayActClientId: may_act ?? undefined };
      const { grant, isNew } = await resourceServers.setGrant(identifier, clientId, input, ifVersion, by);
      return { status: isNew ? 201 : 200, version: grant.version, body: grantToWire(grant) };
    },
  });

const getRoute = ({ query }: ClientGrantRoutesDeps) =>
  apiRoute({
    operationId: 'getClientGrant',
    method: 'get',
    path: `${PATH}/{client_id}`,
    tag,
    scope: 'admin:read',
    summary: 'Read a policy row',
    params: grantParams,
    answers: { 200: { description: 'The policy row', schema: grantSchema } },
    async handle({ params }) {
      const grant = await getGrant(query, params.identifier, params.client_id);
      return { status: 200, version: grant.version, body: grantToWire(grant) };
    },
  });

const removeRoute = ({ resourceServers }: ClientGrantRoutesDeps) =>
  apiRoute({
    operationId: 'removeClientGrant',
    method: 'delete',
    path: `${PATH}/{client_id}`,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Remove a policy row; tokens of that client for that API become inactive at once',
    params: grantParams,
    answers: { 204: { description: 'Removed' } },
    async handle({ params, ifVersion, by }) {
      await resourceServers.removeGrant(params.identifier, params.client_id, ifVersion, by);
      return { status: 204 };
    },
  });

function grantToWire(grant: ClientGrant) {
  return {
    client_id: grant.clientId,
    resource_server: grant.resourceServer,
    scopes: grant.scopes,
    token_exchange: grant.mayExchange,
    may_act: grant.mayActClientId ?? null,
    created_at: grant.createdAt.toISOString(),
    updated_at: grant.updatedAt.toISOString(),
  };
}
