// What `.env.example` and the table in README.md must say, from the one list that the configuration is read by.

import { VARIABLES, type Variable } from '../../src/config/variables.ts';

/** A default that cannot be written down, because it is made or found at start. */
function isComputed(variable: Variable): boolean {
  return /[(<]/.test(variable.default);
}

const ENV_HEAD = `# The configuration of Lanyard: every variable, its unit and its default. Everything here is optional.
# Copy this file to .env and take away the # of what you want to change; the environment itself wins over .env.
# A secret may be put into a file instead: set the variable with _FILE to its path. An empty value counts as not set.
`;

export function envExample(): string {
  const entries = (VARIABLES as readonly Variable[]).map((variable) =>
    [
      `# ${variable.description}`,
      `# Unit: ${variable.unit}. Default: ${variable.default}`,
      `#${variable.name}=${isComputed(variable) ? '' : variable.default}`,
      ...(variable.isSecret ? [`#${variable.name}_FILE=`] : []),
    ].join('\n'),
  );
  return `${ENV_HEAD}\n${entries.join('\n\n')}\n`;
}

export function configurationTable(): string {
  const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('<', '&lt;');
  const rows = (VARIABLES as readonly Variable[]).map((variable) => {
    const names = variable.isSecret ? `\`${variable.name}\`, \`${variable.name}_FILE\`` : `\`${variable.name}\``;
    return `| ${names} | ${cell(variable.unit)} | ${cell(variable.default)} | ${cell(variable.description)} |`;
  });
  return ['| variable | unit | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
}
