// What one variable of the configuration is: how its text is parsed, and what the documentation
// says about it.

import type { z } from 'zod';

interface Common {
  /** turns the text into the value, or says what is wrong with it */
  readonly schema: z.ZodType<unknown, string>;
  /** what the text is, for readers: `seconds`, `TCP port` */
  readonly unit: string;
  /** one or two sentences */
  readonly text: string;
  /** may also be given as a file: `<name>_FILE` holds its path */
  readonly isSecret?: true;
}

/** With a default that the schema parses, or with words for what applies while it is not set. */
export type Variable = Common &
  ({ readonly default: string; readonly whenUnset?: never } | { readonly whenUnset: string; readonly default?: never });

export type VariableTable = Readonly<Record<string, Variable>>;
