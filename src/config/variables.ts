// The one table of the configuration. The parser reads it (sources.ts), and .env.example and
// docs/configuration.md are made from it, which a test holds.

import type { z } from 'zod';
import { LIFETIMES, LIMITS, LOGIN, OUTBOUND, REGISTRATION } from './oauth-variables.ts';
import { DATABASE, LISTENER, OPERATIONS, SECRETS, TLS } from './server-variables.ts';
import type { VariableTable } from './variable.ts';

export const VARIABLES = {
  ...LISTENER,
  ...DATABASE,
  ...SECRETS,
  ...LIFETIMES,
  ...LOGIN,
  ...LIMITS,
  ...REGISTRATION,
  ...OUTBOUND,
  ...TLS,
  ...OPERATIONS,
};

/** As the documentation shows them. */
export const GROUPS: readonly { readonly title: string; readonly variables: VariableTable }[] = [
  { title: 'Address', variables: LISTENER },
  { title: 'Database', variables: DATABASE },
  { title: 'Secrets and signing keys', variables: SECRETS },
  { title: 'Lifetimes', variables: LIFETIMES },
  { title: 'Login', variables: LOGIN },
  { title: 'Limits of what strangers cause', variables: LIMITS },
  { title: 'Dynamic client registration', variables: REGISTRATION },
  { title: 'Outbound requests', variables: OUTBOUND },
  { title: 'TLS and client certificates', variables: TLS },
  { title: 'Log, audit and metrics', variables: OPERATIONS },
];

type Table = typeof VARIABLES;
export type VariableName = keyof Table;

/** The parsed values. One without a default is undefined while its variable is not set. */
export type Values = {
  readonly [Name in VariableName]:
    | z.output<Table[Name]['schema']>
    | (Table[Name] extends { readonly default: string } ? never : undefined);
};
