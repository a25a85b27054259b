// Authorization details (RFC 9396) as the consent page shows them. The sender of a request would gain by details that look like
// less than they are: what is shown has the digits and the letters of what is authorized.

import { describe, expect, test } from '@jest/globals';
import { detailRows, exactJson } from '../../src/interaction/details-in-words.ts';

/** Path and text, with plain blanks. */
function shown(members: Record<string, unknown>): string[] {
  return detailRows(members).map(({ path, texts }) => `${path}: ${texts.join(' | ')}`.replaceAll('\u00a0', ' '));
}

test('the payment of RFC 9396 §2', () => {
  expect(
    shown({
      locations: ['https://example.com/payments'],
      instructedAmount: { currency: 'EUR', amount: '123.50' },
      creditorName: 'Merchant A',
      creditorAccount: { bic: 'ABCIDEFFXXX', iban: 'DE02100100109307118603' },
      remittanceInformationUnstructured: 'Ref Number Merchant',
    }),
  ).toEqual([
    'locations: https://example.com/payments',
    'instructedAmount: EUR 123.50',
    'creditorName: Merchant A',
    'creditorAccount › bic: ABCIDEFFXXX',
    'creditorAccount › iban: DE02100100109307118603',
    'remittanceInformationUnstructured: Ref Number Merchant',
  ]);
});

test('lists, nested and empty values', () => {
  expect(
    shown({
      actions: ['read', 'write'],
      items: [{ sku: 'a', tags: ['x', 'y'] }, 'plain', [1, [2]]],
      nothing: null,
      yes: true,
      text: '',
      list: [],
      object: {},
    }),
  ).toEqual([
    'actions: read | write',
    'items › 1 › sku: a',
    'items › 1 › tags: x | y',
    'items › 2: plain',
    'items › 3 › 1: 1',
    'items › 3 › 2: 2',
    'nothing: null',
    'yes: true',
    'text: ""',
    'list: []',
    'object: {}',
  ]);
  expect(shown({})).toEqual([]);
});

describe('amounts', () => {
  test.each([
    ['1234567.5', 'EUR 1,234,567.5'],
    ['12350', 'EUR 12,350'],
    [12350, 'EUR 12,350'],
    ['-0.10', 'EUR -0.10'],
    ['12345678901234567890.12', 'EUR 12,345,678,901,234,567,890.12'],
    [`1.${'3'.repeat(20)}`, `EUR 1.${'3'.repeat(20)}`],
  ])('%p keeps its digits', (amount, text) => {
    expect(shown({ price: { amount, currency: 'EUR' } })).toEqual([`price: ${text}`]);
  });

  test.each(['007', '1e9', '1,5', ' 1', '', '0x10', `1.${'3'.repeat(21)}`, '٣'])('%p is no amount', (amount) => {
    expect(shown({ price: { amount, currency: 'EUR' } })).toEqual([
      `price › amount: ${amount === '' ? '""' : amount}`,
      'price › currency: EUR',
    ]);
  });

  test('a list is no amount: it would look like a single one', () => {
    expect(shown({ price: { amount: ['5'], currency: 'EUR' } })).toEqual([
      'price › amount: 5',
      'price › currency: EUR',
    ]);
  });

  test('beside other members, and without a currency', () => {
    expect(shown({ amount: '12.50', currency: 'EUR', creditor: 'Shop' })).toEqual([
      'amount: EUR 12.50',
      'creditor: Shop',
    ]);
    expect(shown({ amount: '12000.50', currency: 'euro' })).toEqual(['amount: 12000.50', 'currency: euro']);
    expect(shown({ limit: { value: 20, currency: 'JPY', per: 'day' } })).toEqual([
      'limit › value: JPY 20',
      'limit › per: day',
    ]);
  });
});

describe('dates', () => {
  test.each([
    ['2026-05-14', '14 May 2026'],
    ['2026-05-14T09:30:00Z', '14 May 2026, 09:30:00 UTC'],
    ['2026-05-14T23:30+02:00', '14 May 2026, 23:30 UTC+02:00'],
    ['2026-12-31T23:59:59.999-11:00', '31 December 2026, 23:59:59.999 UTC-11:00'],
  ])('%s is %s: day and time stay those of the request', (value, text) => {
    expect(shown({ until: value })).toEqual([`until: ${text}`]);
  });

  test.each(['2026-02-31', '2026-13-01', '0026-05-14', '2026-05-14T25:00:00Z', '2026-05-14 09:30', '2026-05-14x'])(
    '%s is shown as it is',
    (value) => {
      expect(shown({ until: value })).toEqual([`until: ${value}`]);
    },
  );
});

test('characters that hide or reverse text are spelled out: a payee would read as another one', () => {
  const detail = {
    creditor: 'elpmaxe\u202e',
    'na\u200bme': 'a\nb\u0000\u2028\u2066\ufeff\u{e0041}',
    farsi: 'می\u200cخواهم 👩\u200d💻',
  };
  expect(shown(detail)).toEqual([
    'creditor: elpmaxe\\u202e',
    'na\\u200bme: a\\u000ab\\u0000\\u2028\\u2066\\ufeff\\udb40\\udc41',
    'farsi: می\u200cخواهم 👩\u200d💻',
  ]);
  const exact = exactJson(detail);
  expect(JSON.parse(exact)).toEqual(detail);
  expect(exact).not.toMatch(/[\u202e\u200b\u2028\u2066\ufeff]|\u{e0041}/u);
});
