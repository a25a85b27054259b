// What is printed: a table client × flow, and below it the switches with their reasons, and what went wrong.

import { table } from '../chaos/report.ts';
import { FLOWS, type Flow, flowsOf, type NamedRecipe } from './recipe.ts';

export interface FlowResult {
  /** undefined if all went well */
  readonly failed?: string;
}

export interface Outcome {
  readonly recipe: NamedRecipe;
  /** of the flows that were tried */
  readonly results: Partial<Record<Flow, FlowResult>>;
  readonly installSeconds: number;
  readonly runSeconds: number;
  /** why it cannot be tried on this machine */
  readonly skipped?: string;
  /** why not even the sign-in could be tried */
  readonly failed?: string;
  /** of the app and of Lanyard, if a flow has failed */
  readonly logs?: string;
}

/** A flow that was not tried has failed too. */
export function isFailure({ recipe, results, skipped }: Outcome): boolean {
  return skipped === undefined && !flowsOf(recipe).every((flow) => results[flow] && results[flow].failed === undefined);
}

export function verdict(outcome: Outcome): string {
  if (outcome.skipped !== undefined) return `skipped: ${outcome.skipped}`;
  return `${isFailure(outcome) ? 'FAILED' : 'ok'}, ${outcome.installSeconds + outcome.runSeconds} s`;
}

export function report(outcomes: readonly Outcome[]): string {
  const head = ['client', ...FLOWS, 'install s', 'run s', 'switches'];
  const rows = outcomes.map((outcome) => [
    outcome.recipe.name,
    ...FLOWS.map((flow) => cell(outcome, flow)),
    outcome.installSeconds,
    outcome.runSeconds,
    outcome.recipe.switches.map(({ name }) => name).join(', ') || 'none',
  ]);
  const failed = outcomes.filter(isFailure).length;
  const skipped = outcomes.filter((outcome) => outcome.skipped !== undefined).length;
  const counts = `${outcomes.length - failed - skipped} clients passed, ${failed} failed, ${skipped} skipped`;
  return [table([head, ...rows]), ...outcomes.flatMap(remarks), counts, ''].join('\n');
}

function cell({ recipe, results, skipped }: Outcome, flow: Flow): string {
  if (skipped !== undefined) return 'skipped';
  const result = results[flow];
  if (result !== undefined) return result.failed === undefined ? 'ok' : 'FAILED';
  return flowsOf(recipe).includes(flow) ? 'not tried' : '-';
}

function remarks({ recipe, results, skipped, failed, logs }: Outcome): string[] {
  return [
    ...recipe.switches.map(({ name, reason }) => `${recipe.name}: switch ${name}: ${reason}`),
    ...Object.entries(recipe.without ?? {}).map(([flow, reason]) => `${recipe.name}: no ${flow}: ${reason}`),
    ...(skipped === undefined ? [] : [`${recipe.name}: skipped: ${skipped}`]),
    ...(failed === undefined ? [] : [`${recipe.name}: FAILED: ${failed}`]),
    ...Object.entries(results).flatMap(([flow, result]) =>
      result.failed === undefined ? [] : [`${recipe.name}: ${flow} FAILED: ${result.failed}`],
    ),
    ...(logs === undefined ? [] : [`${recipe.name}: logs:\n${logs}`]),
  ];
}
