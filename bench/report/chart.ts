// The comparison as SVG: one bar per operation and number of connections, for the ratio of
// Lanyard's rate to that of the bare engine, and a line at 1.0. It has a dark variant
// (prefers-color-scheme) and its own background, because not every page that shows it has one.

import { OPERATIONS } from '../operations/all.ts';
import { type Results, toRatios } from '../results.ts';

const WIDTH = 860;
const LABEL_WIDTH = 330;
const VALUE_WIDTH = 60;
const BAR_HEIGHT = 16;
const ROW_HEIGHT = 22;
const GROUP_GAP = 10;
const TOP = 58;
const BOTTOM = 34;

const STYLE = `
  .ground { fill: #ffffff; }
  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .small { font-size: 11px; fill: #6e7781; }
  .title { font-size: 15px; font-weight: 600; }
  .reached { fill: #2da44e; }
  .below { fill: #bf8700; }
  .one { stroke: #6e7781; stroke-dasharray: 4 3; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #0d1117; } text { fill: #e6edf3; } .small { fill: #8b949e; } .one { stroke: #8b949e; }
  }`;

export function ratioChart(results: Results): string {
  const ratios = toRatios(results.measurements);
  const most = Math.max(1.2, ...ratios.map((ratio) => ratio.requestsPerSecond));
  const scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / most;
  const parts: string[] = [];
  let y = TOP;
  for (const operation of OPERATIONS) {
    const own = ratios.filter((ratio) => ratio.operation === operation.id);
    for (const [index, { connections, requestsPerSecond: ratio }] of own.entries()) {
      const baseline = y + BAR_HEIGHT - 4;
      if (index === 0) parts.push(text(LABEL_WIDTH - 40, baseline, operation.title, 'text-anchor="end"'));
      parts.push(text(LABEL_WIDTH - 8, baseline, String(connections), 'text-anchor="end" class="small"'));
      parts.push(
        `<rect class="${ratio >= 1 ? 'reached' : 'below'}" x="${LABEL_WIDTH}" y="${y}" ` +
          `width="${(ratio * scale).toFixed(1)}" height="${BAR_HEIGHT}" rx="2"/>`,
      );
      parts.push(text(LABEL_WIDTH + ratio * scale + 6, baseline, ratio.toFixed(2)));
      y += ROW_HEIGHT;
    }
    if (own.length > 0) y += GROUP_GAP;
  }
  const one = LABEL_WIDTH + scale;
  const height = y + BOTTOM;
  const { node, cores } = results.machine;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="title">`,
    `<title id="title">Requests per second of Lanyard, as a ratio to the bare engine in memory</title>`,
    `<style>${STYLE}\n</style>`,
    `<rect class="ground" width="${WIDTH}" height="${height}"/>`,
    text(16, 24, 'Requests per second: Lanyard, durable, against the bare engine in memory', 'class="title"'),
    ...parts,
    `<line class="one" x1="${one.toFixed(1)}" y1="${TOP - 8}" x2="${one.toFixed(1)}" y2="${y}"/>`,
    text(one, TOP - 14, '1.0', 'text-anchor="middle" class="small"'),
    text(LABEL_WIDTH - 8, TOP - 14, 'connections', 'text-anchor="end" class="small"'),
    text(16, height - 12, `${results.startedAt.slice(0, 10)}, Node ${node}, ${cores} cores`, 'class="small"'),
    '</svg>\n',
  ].join('\n');
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`;
}
