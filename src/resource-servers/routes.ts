// /admin/v1/resource-servers: the APIs. The identifier is a URI: in a path it is percent-encoded as
// one segment. The policy rows of an API: grant-routes.ts.

import { z } from 'zod';
import type { Query } from '../database/database.ts';
import { type ApiRoute, apiRoute } from '../http/api-route.ts';
import { clientIdField, instant, scopeList, text } from '../http/fields.ts';
import { pageQuery, pageSchema, toPage, toPageRequest } from '../http/pagination.ts';
import { shownText } from '../input/shown-text.ts';
import { algorithmField, typeField } from './access-token-signing.ts';
import { authorizationDetailsTypeSchema, whySchemaFails } from './authorization-details.ts';
import type { DeclaredTypes } from './declared-types.ts';
import { spellings } from './identifier.ts';
import {
  MAX_ACCESS_TOKEN_SECONDS,
  RESOURCE_SERVER_DEFAULTS,
  type ResourceServer,
  type ResourceServerInput,
  toDelegation,
} from './resource-server.ts';
import type { ResourceServers } from './resource-servers.ts';
import { getResourceServer, listResourceServers } from './store.ts';
import { toWire } from './wire.ts';

const identifierField = text(500).superRefine((value, context) => {
  const url = URL.parse(value);
  // RFC 8707 §2: an absolute URI, without a fragment
  if (url === null) context.addIssue('must be an absolute URI');
  else if (value.includes('#')) context.addIssue('must not have a fragment');
  else if (/\s/.test(value)) context.addIssue('must not contain white space');
  else if (!spellings(url.href).includes(value)) context.addIssue(`must be in its normal form, ${url.href}`);
});

const name = shownText(200);
const format = z.enum(['jwt', 'opaque'], 'must be jwt or opaque');
const ttl = z
  .int('must be a whole number')
  .min(1, 'must be positive')
  .max(MAX_ACCESS_TOKEN_SECONDS, 'must be one day at most')
  .meta({
    description: 'lifetime of access tokens in seconds; null: the configured default',
  });
const introspectionClient = clientIdField.meta({ description: 'the client with which this API introspects' });

const detailsTypes = z
  .record(text(200), authorizationDetailsTypeSchema, 'must be an object of types')
  .refine((types) => Object.keys(types).length <= 50, 'must have 50 types at most')
  .superRefine((types, context) => {
    for (const [type, { schema }] of Object.entries(types)) {
      const detail = schema && whySchemaFails(schema);
      if (detail !== undefined) context.addIssue({ code: 'custom', path: [type, 'schema'], message: detail });
    }
  })
  .meta({ description: 'the types of authorization details that clients may ask for (RFC 9396), by name' });

const delegation = z
  .strictObject({
    max_depth: z.int('must be a whole number').min(1, 'must be positive').max(10, 'must be 10 at most'),
    allowed_clients: z.array(clientIdField, 'must be a list').max(100, 'must have 100 entries at most').nullable(),
  })
  .meta({
    description:
      'exchanged tokens (RFC 8693): the length of their delegation chain, and the clients in it; null: none is accepted',
  });

const selfRegistered = z
  .strictObject({ scopes: scopeList })
  .meta({ description: 'the scopes of dynamically registered clients without a policy row; null: none' });

const userinfo = z.boolean('must be true or false').meta({
  description:
    'tokens of users for this API that carry the scope openid are accepted at the userinfo endpoint; true if left out',
});

const resourceServerSchema = z
  .object({
    identifier: z.string(),
    name: z.string(),
    scopes: z.array(z.string()),
    access_token_format: format,
    access_token_signing_alg: algorithmField,
    access_token_typ: typeField,
    access_token_ttl_seconds: z.int().nullable(),
    introspection_client_id: z.string().nullable(),
    authorization_details_types: z.record(z.string(), authorizationDetailsTypeSchema),
    delegation: delegation.nullable(),
    self_registered_clients: selfRegistered.nullable(),
    userinfo,
    created_at: instant,
    updated_at: instant,
  })
  .meta({ id: 'ResourceServer' });

const createBody = z.strictObject({
  identifier: identifierField,
  name: name.optional(),
  scopes: scopeList.optional(),
  access_token_format: format.optional(),
  access_token_signing_alg: algorithmField.optional(),
  access_token_typ: typeField.optional(),
  access_token_ttl_seconds: ttl.nullable().optional(),
  introspection_client_id: introspectionClient.nullable().optional(),
  authorization_details_types: detailsTypes.optional(),
  delegation: delegation.nullable().optional(),
  self_registered_clients: selfRegistered.nullable().optional(),
  userinfo: userinfo.optional(),
});
const patchBody = createBody.omit({ identifier: true });
type Change = z.infer<typeof patchBody>;

const resourceServerParams = z.strictObject({ identifier: text(500) });
const tag = 'resource servers';
const PATH = '/resource-servers/{identifier}';

export interface ResourceServerRoutesDeps {
  readonly query: Query;
  readonly resourceServers: ResourceServers;
  /** Named in the discovery document of this process when a change is answered. */
  readonly detailsTypes: Pick<DeclaredTypes, 'refresh'>;
}

export function resourceServerRoutes(deps: ResourceServerRoutesDeps): ApiRoute[] {
  return [createRoute, listRoute, getRoute, changeRoute, removeRoute].map((route) => route(deps));
}

const createRoute = ({ resourceServers, detailsTypes }: ResourceServerRoutesDeps) =>
  apiRoute({
    operationId: 'createResourceServer',
    method: 'post',
    path: '/resource-servers',
    tag,
    scope: 'admin:write',
    summary: 'Register an API',
    body: createBody,
    answers: { 201: { description: 'The resource server', schema: resourceServerSchema } },
    async handle({ body, by }) {
      const { identifier, ...rest } = body;
      const input = merge(RESOURCE_SERVER_DEFAULTS, rest);
      const created = await resourceServers.create(identifier, input, by);
      await detailsTypes.refresh();
      const location = `/admin/v1/resource-servers/${encodeURIComponent(identifier)}`;
      return { ...answer(created), status: 201, location };
    },
  });

const listRoute = ({ query }: ResourceServerRoutesDeps) =>
  apiRoute({
    operationId: 'listResourceServers',
    method: 'get',
    path: '/resource-servers',
    tag,
    scope: 'admin:read',
    summary: 'List resource servers by identifier',
    query: z.strictObject(pageQuery),
    answers: { 200: { description: 'A page of resource servers', schema: pageSchema(resourceServerSchema) } },
    async handle({ query: filter }) {
      const page = toPageRequest(filter);
      const found = await listResourceServers(query, page);
      return { status: 200, body: toPage(found, page.limit, toWire, (server) => server.identifier) };
    },
  });

const getRoute = ({ query }: ResourceServerRoutesDeps) =>
  apiRoute({
    operationId: 'getResourceServer',
    method: 'get',
    path: PATH,
    tag,
    scope: 'admin:read',
    summary: 'Read a resource server',
    params: resourceServerParams,
    answers: { 200: { description: 'The resource server', schema: resourceServerSchema } },
    handle: async ({ params }) => answer(await getResourceServer(query, params.identifier)),
  });

const changeRoute = ({ resourceServers, detailsTypes }: ResourceServerRoutesDeps) =>
  apiRoute({
    operationId: 'changeResourceServer',
    method: 'patch',
    path: PATH,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Change a resource server',
    params: resourceServerParams,
    body: patchBody,
    answers: { 200: { description: 'The changed resource server', schema: resourceServerSchema } },
    async handle({ params, body, ifVersion, by }) {
      const change = (before: ResourceServer) => merge(before, body);
      const changed = await resourceServers.change(params.identifier, change, ifVersion, by);
      await detailsTypes.refresh();
      return answer(changed);
    },
  });

const removeRoute = ({ resourceServers, detailsTypes }: ResourceServerRoutesDeps) =>
  apiRoute({
    operationId: 'removeResourceServer',
    method: 'delete',
    path: PATH,
    tag,
    scope: 'admin:write',
    isConditional: true,
    summary: 'Remove a resource server and its policy rows; its tokens become inactive',
    params: resourceServerParams,
    answers: { 204: { description: 'Removed' } },
    async handle({ params, ifVersion, by }) {
      await resourceServers.remove(params.identifier, ifVersion, by);
      await detailsTypes.refresh();
      return { status: 204 };
    },
  });

/** A member that is absent keeps its value; null removes it. */
function merge(before: ResourceServerInput, change: Change): ResourceServerInput {
  return {
    name: change.name ?? before.name,
    scopes: change.scopes ?? before.scopes,
    accessTokenFormat: change.access_token_format ?? before.accessTokenFormat,
    accessTokenAlgorithm: change.access_token_signing_alg ?? before.accessTokenAlgorithm,
    accessTokenType: change.access_token_typ ?? before.accessTokenType,
    accessTokenTtlSeconds: changed(change.access_token_ttl_seconds, before.accessTokenTtlSeconds),
    introspectionClientId: changed(change.introspection_client_id, before.introspectionClientId),
    authorizationDetailsTypes: change.authorization_details_types ?? before.authorizationDetailsTypes,
    selfRegisteredScopes:
      change.self_registered_clients === undefined
        ? before.selfRegisteredScopes
        : change.self_registered_clients?.scopes,
    delegation: change.delegation === undefined ? before.delegation : toDelegation(change.delegation),
    acceptedAtUserinfo: change.userinfo ?? before.acceptedAtUserinfo,
  };
}

function changed<T>(value: T | null | undefined, before: T | undefined): T | undefined {
  return value === undefined ? before : (value ?? undefined);
}

function answer(server: ResourceServer) {
  return { status: 200, version: server.version, body: toWire(server) };
}
