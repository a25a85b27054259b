// Shorter ways to register counters and gauges.

import { Counter, Gauge, type Registry } from 'prom-client';

export function counter<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: Label[] = [],
): Counter<Label> {
  return new Counter({ name, help, labelNames, registers: [registry] });
}

/** A gauge that is read at each scrape. While `read` returns undefined it has no sample. */
export function sampledGauge(registry: Registry, name: string, help: string, read: () => number | undefined): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      const value = read();
      if (value === undefined) this.remove();
      else this.set(value);
    },
  });
}

/** A gauge with one label. @param read returns label values with their samples */
export function sampledGauges(
  registry: Registry,
  name: string,
  help: string,
  label: string,
  read: () => [string, number][],
): void {
  new Gauge({
    name,
    help,
    labelNames: [label],
    registers: [registry],
    collect() {
      for (const [value, sample] of read()) this.set({ [label]: value }, sample);
    },
  });
}
