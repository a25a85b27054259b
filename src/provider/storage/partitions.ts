// The partitions of `oidc_artifacts`, as the migrations make them, and which of them a statement
// has to look into.

/** By model; the rest shares the last one. */
const PARTITIONS = {
  AccessToken: 'oidc_artifacts_access_tokens',
  ClientCredentials: 'oidc_artifacts_access_tokens',
  RefreshToken: 'oidc_artifacts_refresh_tokens',
  AuthorizationCode: 'oidc_artifacts_codes',
  Grant: 'oidc_artifacts_grants',
  Session: 'oidc_artifacts_sessions',
  Interaction: 'oidc_artifacts_sessions',
} as const;
const OTHER = 'oidc_artifacts_other';
const ALL = 'oidc_artifacts';

export type ArtifactPartition = (typeof PARTITIONS)[keyof typeof PARTITIONS] | typeof OTHER;
export type ArtifactTable = ArtifactPartition | typeof ALL;

export const ARTIFACT_PARTITIONS: readonly ArtifactPartition[] = [...new Set(Object.values(PARTITIONS)), OTHER];

/** @returns the partition that holds all of them if there is one, otherwise the whole table */
export function tableOf(models: readonly string[]): ArtifactTable {
  const tables = new Set(models.map(partitionOf));
  const [table] = tables;
  return table === undefined || tables.size > 1 ? ALL : table;
}

function partitionOf(model: string): ArtifactPartition {
  return Object.hasOwn(PARTITIONS, model) ? PARTITIONS[model as keyof typeof PARTITIONS] : OTHER;
}

/**
 * One statement per partition: PostgreSQL does not have to prepare for all six where one is enough.
 */
export function forEachTable<T>(statementOn: (table: ArtifactTable) => T): (models: readonly string[]) => T {
  const statements = new Map<ArtifactTable, T>();
  return (models) => {
    const table = tableOf(models);
    const statement = statements.get(table) ?? statementOn(table);
    statements.set(table, statement);
    return statement;
  };
}
