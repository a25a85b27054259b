// POST …/disable, …/enable and …/revoke-tokens: how an operator ends the access of a client or a
// user. The same for both.

import { z } from 'zod';
import type { VersionCondition } from '../errors.ts';
import { type ApiAnswer, type ApiRoute, apiRoute, type Caller } from './api-route.ts';
import { instant } from './fields.ts';

/** What was removed; JWTs have no row, and are void by `notBefore`. */
interface RevokedTokens {
  readonly accessTokens: number;
  readonly refreshTokens: number;
  readonly authorizationCodes: number;
  readonly grants: number;
  readonly sessions?: number;
  readonly notBefore: Date;
}

const revokedSchema = z.object({
  access_tokens: z.int().meta({ description: 'opaque ones; JWTs have no row and are void by tokens_not_before' }),
  refresh_tokens: z.int(),
  authorization_codes: z.int(),
  grants: z.int(),
  tokens_not_before: instant.meta({ description: 'every token issued before this instant is void' }),
});

export interface AccessRoutesOptions<Params, Holder> {
  /** in the ids of the operations: `Client` */
  readonly name: string;
  /** of one client or user: `/clients/{client_id}` */
  readonly path: string;
  readonly tag: string;
  readonly params: z.ZodType<Params>;
  readonly idOf: (params: Params) => string;
  readonly summaries: { readonly disable: string; readonly enable: string; readonly revoke: string };
  readonly schema: z.ZodType;
  /** whether sessions are among what is revoked: users have some */
  readonly hasSessions: boolean;
  readonly answer: (holder: Holder) => ApiAnswer;
  /** throws when this caller must not disable it */
  readonly assertMayDisable?: (callerClientId: string, id: string) => void;
  readonly holders: {
    setDisabled(id: string, isDisabled: boolean, ifVersion: VersionCondition, by: Caller): Promise<Holder>;
    revokeTokens(id: string, by: Caller): Promise<RevokedTokens>;
  };
}

export function accessRoutes<Params, Holder>(options: AccessRoutesOptions<Params, Holder>): ApiRoute[] {
  return [switchRoute(options, 'disable'), switchRoute(options, 'enable'), revokeRoute(options)];
}

function switchRoute<Params, Holder>(
  { holders, idOf, ...options }: AccessRoutesOptions<Params, Holder>,
  action: 'disable' | 'enable',
): ApiRoute {
  return apiRoute({
    operationId: `${action}${options.name}`,
    method: 'post',
    path: `${options.path}/${action}`,
    tag: options.tag,
    scope: 'admin:write',
    isConditional: true,
    summary: options.summaries[action],
    params: options.params,
    answers: { 200: { description: `The ${options.name.toLowerCase()}`, schema: options.schema } },
    async handle({ params, ifVersion, by, callerClientId }) {
      const isDisabled = action === 'disable';
      if (isDisabled) options.assertMayDisable?.(callerClientId, idOf(params));
      return options.answer(await holders.setDisabled(idOf(params), isDisabled, ifVersion, by));
    },
  });
}

function revokeRoute<Params, Holder>({ holders, idOf, ...options }: AccessRoutesOptions<Params, Holder>): ApiRoute {
  const schema = (options.hasSessions ? revokedSchema.extend({ sessions: z.int() }) : revokedSchema).meta({
    id: `Revoked${options.name}Tokens`,
  });
  return apiRoute({
    operationId: `revoke${options.name}Tokens`,
    method: 'post',
    path: `${options.path}/revoke-tokens`,
    tag: options.tag,
    scope: 'admin:write',
    summary: options.summaries.revoke,
    params: options.params,
    answers: { 200: { description: 'How many of each kind were removed', schema } },
    async handle({ params, by }) {
      const { sessions, ...revoked } = await holders.revokeTokens(idOf(params), by);
      return { status: 200, body: { ...toWire(revoked), ...(options.hasSessions ? { sessions } : {}) } };
    },
  });
}

function toWire(revoked: Omit<RevokedTokens, 'sessions'>) {
  return {
    access_tokens: revoked.accessTokens,
    refresh_tokens: revoked.refreshTokens,
    authorization_codes: revoked.authorizationCodes,
    grants: revoked.grants,
    tokens_not_before: revoked.notBefore.toISOString(),
  };
}
