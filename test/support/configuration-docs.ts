// What .env.example and docs/configuration.md say, made from the one table of variables. Run as a
// program, it writes both: node test/support/configuration-docs.ts

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Variable } from '../../src/config/variable.ts';
import { GROUPS } from '../../src/config/variables.ts';

const ENV_HEAD = `# The configuration of Lanyard: every variable, its unit and its default. Everything here is optional.
# Copy this file to .env and take away the # of what you want to change; the environment itself wins over .env.
# A secret may be put into a file instead: set the variable with _FILE to its path. An empty value counts as not set.
`;

function envExample(): string {
  const variables = GROUPS.flatMap((group) => Object.entries(group.variables));
  const entries = variables.map(([name, variable]) =>
    [
      `# ${variable.text}`,
      `# Unit: ${variable.unit}. Default: ${variable.default ?? `(${variable.whenUnset})`}`,
      `#${name}=${variable.default ?? ''}`,
      ...(variable.isSecret ? [`#${name}_FILE=`] : []),
    ].join('\n'),
  );
  return `${ENV_HEAD}\n${entries.join('\n\n')}\n`;
}

const PAGE_HEAD = `# Configuration

Lanyard reads environment variables, or a file \`.env\` in the working directory ([.env.example](../.env.example) has every
variable, ready to copy). The environment wins over \`.env\`. All variables are optional.

- A faulty value stops the start, and so does a misspelt \`LANYARD_\` variable. All faults are reported at once.
- A variable that is set to the empty string counts as not set.
- A secret may be given as a file: set the variable with \`_FILE\` at its end to the path of the file.
- A variable with \`DANGER\` in its name switches off a protection.

Common settings:

- **Your own PostgreSQL:** set \`DATABASE_URL\` and \`LANYARD_SECRET_KEY\`. Migrations run at start. Several servers may share one
  database if they share the key.
- **Behind a proxy** that ends TLS: \`LANYARD_ISSUER=https://id.example.com\` and \`LANYARD_TRUST_PROXY=<address of the proxy>\`.
  The proxy must pass on the \`Host\` header, or set \`X-Forwarded-Host\`, and set \`X-Forwarded-For\`.
- **In a container:** \`LANYARD_HOST=0.0.0.0\`, and secrets as files:
  \`LANYARD_SECRET_KEY_FILE=/run/secrets/lanyard_key\`.

More is in [operations.md](operations.md).
`;

function configurationPage(): string {
  const sections = GROUPS.map(({ title, variables }) => {
    const rows = Object.entries(variables).map(([name, variable]) => toRow(name, variable));
    return `## ${title}\n\n${markdownTable([['variable', 'unit', 'default', 'meaning'], ...rows])}\n`;
  });
  return [PAGE_HEAD, ...sections].join('\n');
}

function toRow(name: string, variable: Variable): string[] {
  const names = variable.isSecret ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``;
  const initial = variable.default === undefined ? quoteNames(variable.whenUnset) : `\`${variable.default}\``;
  return [names, quoteNames(variable.unit), initial, quoteNames(variable.text)];
}

/** With the columns filled up, as the formatter leaves it. */
function markdownTable(rows: readonly (readonly string[])[]): string {
  const cells = rows.map((row) => row.map((cell) => cell.replaceAll('|', '\\|')));
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  const [head = '', ...body] = cells.map((row) => toLine(row.map((cell, column) => cell.padEnd(widths[column] ?? 0))));
  return [head, toLine(widths.map((width) => '-'.repeat(width))), ...body].join('\n');
}

function toLine(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

/** Names of variables, paths and commands as code; Markdown would read `<` and `_` in them. */
function quoteNames(text: string): string {
  return text.replaceAll(
    /(?<!`)\b(?:[a-z]+:\/\/\S*|(?:LANYARD|DATABASE)_[A-Z_]+(?:\/[\w-]+)?|https:\/\/host\[:port\])/g,
    '`$&`',
  );
}

/** Each file with the text that it must have. */
export const CONFIGURATION_DOCS: Readonly<Record<string, () => string>> = {
  '.env.example': envExample,
  'docs/configuration.md': configurationPage,
};

const ROOT = join(import.meta.dirname, '../..');

export function readDoc(path: string): Promise<string> {
  return readFile(join(ROOT, path), 'utf8');
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(CONFIGURATION_DOCS)) await writeFile(join(ROOT, path), text());
}
