// An authorization detail (RFC 9396) in words: one row for each value, under the path of its member.
// Amounts get their currency and dates their month in words. What is shown has the digits that the
// app has sent, and the page holds the detail as it was sent too. Characters that hide or reverse text
// are spelled out.

import { withHiddenSpelledOut } from '../input/shown-text.ts';

export interface DetailRow {
  /** the names of the members that lead to the value; places in a list count from 1 */
  readonly path: string;
  /** several for a list of plain values */
  readonly texts: readonly string[];
}

const SEPARATOR = ' › ';
const AMOUNTS = ['amount', 'value'];
/** ISO 4217 */
const CURRENCY = /^[A-Z]{3}$/;
/** Others are shown as they are: grouping would change `007`. */
const DECIMAL = /^-?(0|[1-9]\d{0,30})(\.\d{1,20})?$/;
/** RFC 3339, of an era in which a year needs no explanation */
const DATE = /^(?:19|2\d)\d\d-\d\d-\d\d$/;
const TIME = /^(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)$/i;
const dates = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' });

/** The detail as JSON. */
export function exactJson(detail: object): string {
  // What breaks a line here is no part of a value: JSON escapes controls.
  return JSON.stringify(detail, null, 2).split('\n').map(withHiddenSpelledOut).join('\n');
}

export function detailRows(members: Readonly<Record<string, unknown>>): DetailRow[] {
  return rowsOfObject([], members);
}

function rowsOf(path: readonly string[], value: unknown): DetailRow[] {
  if (Array.isArray(value)) return rowsOfList(path, value);
  if (isObject(value)) return rowsOfObject(path, value);
  return [row(path, [inText(value)])];
}

function rowsOfList(path: readonly string[], values: readonly unknown[]): DetailRow[] {
  if (values.length === 0) return [row(path, ['[]'])];
  if (values.every((each) => typeof each !== 'object' || each === null)) return [row(path, values.map(inText))];
  return values.flatMap((each, index) => rowsOf([...path, String(index + 1)], each));
}

function rowsOfObject(path: readonly string[], members: Readonly<Record<string, unknown>>): DetailRow[] {
  const names = Object.keys(members);
  if (names.length === 0) return path.length === 0 ? [] : [row(path, ['{}'])];
  const { currency } = members;
  const amount = AMOUNTS.find((name) => isAmount(members[name]));
  if (amount === undefined || typeof currency !== 'string' || !CURRENCY.test(currency)) {
    return names.flatMap((name) => rowsOf([...path, name], members[name]));
  }
  const money = `${currency}\u00a0${grouped(String(members[amount]))}`;
  if (names.length === 2 && path.length > 0) return [row(path, [money])];
  return names
    .filter((name) => name !== 'currency')
    .flatMap((name) => (name === amount ? [row([...path, name], [money])] : rowsOf([...path, name], members[name])));
}

function inText(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return value === '' ? '""' : (inDate(value) ?? withHiddenSpelledOut(value));
}

/** A time stays in the zone in which it was sent: nobody here knows that of the user. */
function inDate(value: string): string | undefined {
  const date = value.slice(0, 10);
  const day = DATE.test(date) ? Date.parse(`${date}T00:00:00Z`) : Number.NaN;
  // `Date` takes 31 February for a day in March.
  if (Number.isNaN(day) || new Date(day).toISOString().slice(0, 10) !== date) return undefined;
  const words = dates.format(day);
  if (value === date) return words;
  const [, time, zone = ''] = /^T$/i.test(value.charAt(10)) ? (TIME.exec(value.slice(11)) ?? []) : [];
  if (time === undefined || Number.isNaN(Date.parse(value))) return undefined;
  return `${words}, ${time} UTC${/^z$/i.test(zone) ? '' : zone}`;
}

/** With the digits that it has: nobody here knows whether an API counts in cents. */
function grouped(decimal: string): string {
  const digits = decimal.split('.')[1]?.length ?? 0;
  const format = new Intl.NumberFormat('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
  // A number would lose digits.
  return isDecimal(decimal) ? format.format(decimal) : decimal;
}

function isAmount(value: unknown): boolean {
  return (typeof value === 'string' || typeof value === 'number') && isDecimal(String(value));
}

function isDecimal(text: string): text is `${number}` {
  return DECIMAL.test(text);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function row(path: readonly string[], texts: readonly string[]): DetailRow {
  return { path: withHiddenSpelledOut(path.join(SEPARATOR)), texts };
}
