// PostgreSQL's text form of an array parameter ("Array Input and Output Syntax" in its manual). `pg` makes the same from a
// JavaScript array, several times slower, since it has to expect everything in it.

export type ArrayElement = string | number | Buffer | null;

export function arrayLiteral(elements: readonly ArrayElement[]): string {
  let literal = '{';
  for (let index = 0; index < elements.length; index++) {
    if (index > 0) literal += ',';
    literal += elementLiteral(elements[index] as ArrayElement);
  }
  return `${literal}}`;
}

function elementLiteral(element: ArrayElement): string {
  if (element === null) return 'NULL';
  if (typeof element === 'number') return String(element);
  if (typeof element !== 'string') return `\\\\x${element.toString('hex')}`;
  return /["\\]/.test(element) ? `"${element.replace(/["\\]/g, '\\$&')}"` : `"${element}"`;
}
