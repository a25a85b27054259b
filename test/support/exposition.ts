// The exposition format of Prometheus, version 0.0.4, read as strictly as Prometheus and promtool
// read it.

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Exposition {
  readonly samples: readonly Sample[];
  /** by metric */
  readonly types: ReadonlyMap<string, string>;
  /** @returns the one value; 0 when there is no such series. @throws when several fit */
  value(name: string, labels?: Readonly<Record<string, string>>): number;
  /** @returns the sum of all series that have these labels */
  sum(name: string, labels?: Readonly<Record<string, string>>): number;
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)/y;
const VALUE = /^([+-]?(\d+(\.\d+)?(e[+-]?\d+)?|Inf)|NaN)$/i;
const SUFFIX = /_(bucket|sum|count)$/;

/**
 * @throws Error naming the line that Prometheus would refuse, or the metric that promtool would
 * report
 */
export function parseExposition(text: string): Exposition {
  if (!text.endsWith('\n')) throw new Error('the last line has no end');
  const helps = new Set<string>();
  const types = new Map<string, string>();
  const samples: Sample[] = [];
  const seen = new Set<string>();
  let current = '';
  for (const line of text.slice(0, -1).split('\n')) {
    if (line === '') continue;
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line);
    if (comment !== null) {
      const [, keyword, name = '', rest = ''] = comment;
      if (!NAME.test(name)) throw new Error(`not a name: ${line}`);
      if (keyword === 'HELP' ? helps.has(name) : types.has(name)) throw new Error(`twice: ${line}`);
      if (keyword === 'HELP') helps.add(name);
      else types.set(name, rest);
      current = name;
      continue;
    }
    const sample = parseSample(line);
    const base = types.get(current) === 'histogram' ? sample.name.replace(SUFFIX, '') : sample.name;
    if (base !== current) throw new Error(`outside of its group: ${line}`);
    const identity = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
    if (seen.has(identity)) throw new Error(`the same series twice: ${line}`);
    seen.add(identity);
    samples.push(sample);
  }
  for (const [name, type] of types) assertConvention(name, type, helps);
  assertHistograms(samples, types);

  const matching = (name: string, labels: Readonly<Record<string, string>>) =>
    samples.filter(
      (sample) => sample.name === name && Object.entries(labels).every(([k, v]) => sample.labels[k] === v),
    );
  return {
    samples,
    types,
    value(name, labels = {}) {
      const found = matching(name, labels);
      if (found.length > 1) throw new Error(`${found.length} series of ${name} fit ${JSON.stringify(labels)}`);
      return found[0]?.value ?? 0;
    },
    sum: (name, labels = {}) => matching(name, labels).reduce((sum, { value }) => sum + value, 0),
  };
}

function parseSample(line: string): Sample {
  const [, name, labelText, valueText] = SAMPLE.exec(line) ?? [];
  if (name === undefined || valueText === undefined || !VALUE.test(valueText)) throw new Error(`not a sample: ${line}`);
  const labels: Record<string, string> = {};
  const text = labelText ?? '';
  LABEL.lastIndex = 0;
  for (let at = 0; at < text.length; at = LABEL.lastIndex) {
    const [, key, value] = LABEL.exec(text) ?? [];
    if (key === undefined || value === undefined || key in labels) throw new Error(`faulty labels: ${line}`);
    labels[key] = value.replace(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char));
  }
  return { name, labels, value: Number(valueText.replace(/inf/i, 'Infinity')) };
}

/** What `promtool check metrics` says about names. */
function assertConvention(name: string, type: string, helps: ReadonlySet<string>): void {
  if (!helps.has(name)) throw new Error(`${name} has no help`);
  if (!['counter', 'gauge', 'histogram', 'summary'].includes(type)) throw new Error(`${name} is a ${type}`);
  if (!name.startsWith('lanyard_')) return;
  if ((type === 'counter') !== name.endsWith('_total')) throw new Error(`${name} is a ${type}`);
  if (/_(ms|milliseconds|minutes|kilobytes|mb)(_|$)/.test(name)) throw new Error(`${name} has no base unit`);
}

function assertHistograms(samples: readonly Sample[], types: ReadonlyMap<string, string>): void {
  const last = new Map<string, number>();
  for (const { name, labels, value } of samples) {
    const base = name.replace(SUFFIX, '');
    if (types.get(base) !== 'histogram') continue;
    const { le, ...others } = labels;
    const series = JSON.stringify([base, Object.entries(others).sort()]);
    if (name.endsWith('_bucket') && value < (last.get(series) ?? 0)) throw new Error(`${series} falls at ${le}`);
    if (name.endsWith('_bucket')) last.set(series, value);
    if (name.endsWith('_count') && value !== last.get(series)) throw new Error(`${series} does not end in +Inf`);
  }
}
