// GET /admin/v1/openapi.json: OpenAPI 3.1, generated from the route values and their zod schemas,
// which also parse the requests.

import { z } from 'zod';
import type { ApiRoute } from '../http/api-route.ts';

type Json = Record<string, unknown>;

interface JsonSchema extends Json {
  readonly $defs?: Record<string, JsonSchema>;
  readonly properties?: Record<string, JsonSchema>;
  readonly required?: readonly string[];
}

const problemSchema = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    code: z.string().meta({ description: 'stable; decide by this' }),
    detail: z.string(),
    request_id: z.string(),
    errors: z
      .array(z.object({ pointer: z.string(), detail: z.string() }))
      .optional()
      .meta({ description: 'every faulty member: a JSON Pointer into the body, ?name for a query parameter' }),
  })
  .meta({ id: 'Problem' });

export function openApiDocument(routes: readonly ApiRoute[], options: { issuer: string; version: string }): Json {
  const components: Json = {};
  const paths: Record<string, Json> = {};
  const convert: Convert = (schema, io) => toJsonSchema(schema, io, components);
  for (const route of routes) {
    const path = paths[route.path] ?? {};
    paths[route.path] = path;
    path[route.method] = operation(route, convert);
  }
  const problem = convert(problemSchema, 'output');
  return {
    openapi: '3.1.0',
    info: {
      title: 'Lanyard admin API',
      version: options.version,
      description: `Tokens: audience \`${options.issuer}/admin\`, scopes admin:read and admin:write.`,
    },
    servers: [{ url: `${options.issuer}/admin/v1` }],
    security: [{ oauth2: ['admin:read'] }],
    paths,
    components: {
      schemas: components,
      responses: {
        Problem: {
          description: 'RFC 9457 problem details',
          content: { 'application/problem+json': { schema: problem } },
        },
        Unauthorized: { description: 'No valid token (RFC 6750 §3)', headers: challengeHeader() },
        Forbidden: {
          description: 'A valid token of a client that is not allowed here, or without the scope',
          headers: challengeHeader(),
        },
      },
      securitySchemes: {
        oauth2: {
          type: 'oauth2',
          flows: {
            clientCredentials: {
              tokenUrl: `${options.issuer}/oauth2/token`,
              scopes: { 'admin:read': 'Read everything', 'admin:write': 'Change everything' },
            },
          },
        },
      },
    },
  };
}

type Convert = (schema: z.ZodType, io: 'input' | 'output') => JsonSchema;

function operation(route: ApiRoute, convert: Convert): Json {
  const responses: Record<string, Json> = {};
  for (const [status, { description, schema }] of Object.entries(route.answers)) {
    responses[status] = {
      description,
      ...(schema === undefined ? {} : { content: { 'application/json': { schema: convert(schema, 'output') } } }),
    };
  }
  return {
    operationId: route.operationId,
    summary: route.summary,
    tags: [route.tag],
    security: [{ oauth2: [route.scope] }],
    parameters: [
      ...parameters(convert(route.params, 'input'), 'path'),
      ...parameters(convert(route.query, 'input'), 'query'),
      ...(route.isConditional ? [ifMatchHeader()] : []),
    ],
    ...(route.body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: convert(route.body, 'input') } } } }),
    responses: {
      ...responses,
      401: { $ref: '#/components/responses/Unauthorized' },
      403: { $ref: '#/components/responses/Forbidden' },
      default: { $ref: '#/components/responses/Problem' },
    },
  };
}

function parameters({ required = [], properties = {} }: JsonSchema, where: 'path' | 'query'): Json[] {
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: where,
    required: where === 'path' || required.includes(name),
    schema: property,
  }));
}

function ifMatchHeader(): Json {
  return {
    name: 'If-Match',
    in: 'header',
    required: false,
    description:
      'the ETag that you have read; 412 if it has changed since (RFC 9110 §13.1.1, with If-None-Match as well)',
    schema: { type: 'string' },
  };
}

function challengeHeader(): Json {
  return { 'WWW-Authenticate': { schema: { type: 'string' } } };
}

/** Schemas with an id become components; the others are written where they are used. */
function toJsonSchema(schema: z.ZodType, io: 'input' | 'output', components: Json): JsonSchema {
  const { $schema: _, ...withDefinitions } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  const moved = JSON.stringify(withDefinitions).replaceAll('#/$defs/', '#/components/schemas/');
  const { $defs = {}, ...converted }: JsonSchema = JSON.parse(moved);
  for (const [id, definition] of Object.entries($defs)) {
    components[id] = withoutId(definition);
  }
  const id = converted.id;
  if (typeof id !== 'string') return converted;
  components[id] = withoutId(converted);
  return { $ref: `#/components/schemas/${id}` };
}

/** The `id` that zod writes into a schema is not a member of JSON Schema 2020-12. */
function withoutId({ id: _, ...definition }: Json): Json {
  return definition;
}
