// What makes a request faulty. Each mutation draws the same choices whatever the values are, since
// values that can be used once differ between the two requests of a case.

import type { Draft } from './drafts.ts';
import { bodyOf } from './drafts.ts';
import type { Random } from './random.ts';
import type { Header, RawRequest } from './raw-http.ts';

const ALLOWED_ORIGIN = 'https://app.example';

/** Values that a parameter may be given, or that is put behind its value. */
const ODD_VALUES = [
  ...['', ' ', '\0', '\t', '\r\n', '"', '\\', '%', '%00', '%zz', '&', '=', '+', '{}', '[]', 'null', '[object Object]'],
  ...['ñ', '\u0130', '\u212a', '\ud83d\ude00', '\ufeff', '\u202e', 'e\u0301', '\u00a0', '\uffff', 'x'.repeat(3_000)],
];
const EXTRA_PARAMETERS: readonly Header[] = [
  ...(['__proto__', 'constructor', 'toString', 'hasOwnProperty', 'nonsense', '', ' ', 'scope[]'] as const).map(
    (name): Header => [name, 'x'],
  ),
  ['resource', 'https://jwt.example'],
  ['resource', 'https://opaque.example/'],
  ['resource', 'nonsense'],
  ['authorization_details', '[{"type":"payment","amount":"12.50"}]'],
  ['authorization_details', '{"type":"payment"}'],
  ['authorization_details', '[[[['],
  ['authorization_details', '[{"type":"__proto__"}]'],
  ['claims', '{"userinfo":{"email":null}}'],
  ['scope', 'openid read'],
  ['scope', 'read  write'],
  ['client_id', 'unknown'],
  ['client_secret', 'wrong'],
  ['client_assertion', 'a.b.c'],
  ['client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'],
  ['code_verifier', 'x'.repeat(43)],
  ['audience', 'https://jwt.example'],
  ['grant_type', 'client_credentials'],
  ['token', 'nonsense'],
  ['access_token', 'nonsense'],
];

type FormMutation = (form: Header[], at: number, random: Random, donor: Draft) => void;

const FORM_MUTATIONS: Readonly<Record<string, FormMutation>> = {
  drop: (form, at) => void form.splice(at, 1),
  // A form whose only parameter was dropped has none.
  duplicate: (form, at) => void form.push(...form.slice(at, at + 1)),
  'give twice with another value': (form, at, random) => void form.push([nameAt(form, at), random.pick(ODD_VALUES)]),
  rename: (form, at, random) => {
    const name = nameAt(form, at);
    const names = [name.toUpperCase(), `${name}[]`, ` ${name}`, `${name}\0`, name.replace('_', '-')];
    form[at] = [random.pick(names), valueAt(form, at)];
  },
  empty: (form, at) => void form.splice(at, 1, [nameAt(form, at), '']),
  lengthen: (form, at, random) =>
    void form.splice(at, 1, [nameAt(form, at), valueAt(form, at) + random.pick(ODD_VALUES)]),
  shorten: (form, at) => void form.splice(at, 1, [nameAt(form, at), valueAt(form, at).slice(0, -2)]),
  'put something before': (form, at, random) =>
    void form.splice(at, 1, [nameAt(form, at), random.pick(ODD_VALUES) + valueAt(form, at)]),
  replace: (form, at, random) => void form.splice(at, 1, [nameAt(form, at), random.pick(ODD_VALUES)]),
  'change the case': (form, at) => void form.splice(at, 1, [nameAt(form, at), valueAt(form, at).toUpperCase()]),
  add: (form, at, random) => void form.splice(at, 0, random.pick(EXTRA_PARAMETERS)),
  'add two': (form, _at, random) => void form.push(random.pick(EXTRA_PARAMETERS), random.pick(EXTRA_PARAMETERS)),
  'swap values': (form, at, random) => {
    const other = random.integer(form.length);
    const [first, second] = [valueAt(form, at), valueAt(form, other)];
    form[at] = [nameAt(form, at), second];
    form[other] = [nameAt(form, other), first];
  },
  'take a value of another request': (form, at, random, { form: other }) => {
    const donated = other?.[random.integer(other.length)];
    if (donated !== undefined) form[at] = [nameAt(form, at), donated[1]];
  },
  'take a parameter of another request': (form, _at, random, { form: other }) => {
    const donated = other?.[random.integer(other.length)];
    if (donated !== undefined) form.push(donated);
  },
};

type TextMutation = (body: string, random: Random) => string | Buffer;

const TEXT_MUTATIONS: Readonly<Record<string, TextMutation>> = {
  'escape every character': (body) => body.replace(/[^&=%+]/g, (char) => `%${char.charCodeAt(0).toString(16)}`),
  'escapes in small letters': (body) => body.replace(/%[0-9A-F]{2}/g, (escaped) => escaped.toLowerCase()),
  'break an escape': (body, random) => body + random.pick(['%', '%z', '%zz', '&a=%E0%A4', '&scope=%FF', '&%']),
  'byte order mark': (body) => `\ufeff${body}`,
  semicolons: (body) => body.replaceAll('&', ';'),
  'empty pairs': (body) => `&&${body}&&=&`,
  'name without a value': (body, random) => `${body}&${random.pick(['scope', 'resource', 'token', 'client_id'])}`,
  'raw bytes': (body, random) => Buffer.concat([Buffer.from(body), Buffer.from([0, 0xff, 0xc3, random.integer(256)])]),
  'letters without escapes': (body) => `${body}&nonsense=\u00fc\u212a\ud83d\ude00`,
  'many parameters': (body) => `${'a=&'.repeat(1_200)}${body}`,
  'many empty parameters behind': (body) => body + '&b'.repeat(1_200),
  JSON: () => '{"grant_type":"client_credentials"}',
  nothing: () => '',
  long: (body) => `${body}&x=${'y'.repeat(40_000)}`,
  'too long': (body) => `${body}&x=${'y'.repeat(60_000)}`,
};

type HeaderMutation = (headers: Header[], random: Random, donor: Draft) => void;

const HEADER_MUTATIONS: Readonly<Record<string, HeaderMutation>> = {
  Accept: (headers, random) => void headers.push(['Accept', random.pick(ACCEPTS)]),
  'an unlikely Accept': (headers, random) => void headers.push(['Accept', random.pick(UNLIKELY_ACCEPTS)]),
  'Content-Type': (headers, random) => set(headers, 'Content-Type', () => random.pick(CONTENT_TYPES)),
  'another Content-Type': (headers, random) => set(headers, 'Content-Type', () => random.pick(OTHER_CONTENT_TYPES)),
  'allowed Origin': (headers) => void headers.push(['Origin', ALLOWED_ORIGIN]),
  'foreign Origin': (headers, random) => void headers.push(['Origin', random.pick(ORIGINS)]),
  'no Authorization': (headers) => set(headers, 'Authorization', () => undefined),
  'blanks in Authorization': (headers) => set(headers, 'Authorization', (value) => value.replace(' ', '  ')),
  'case of the scheme': (headers, random) =>
    set(headers, 'Authorization', (value) =>
      random.chance(0.5) ? value.toLowerCase() : value.replace(/^\w+/, (scheme) => scheme.toUpperCase()),
    ),
  'another scheme': (headers, random) =>
    set(headers, 'Authorization', (value) => value.replace(/^\w+/, random.pick(['Basic', 'Bearer', 'DPoP', 'Digest']))),
  'something behind Authorization': (headers, random) =>
    set(headers, 'Authorization', (value) => value + random.pick([' x', ',', '=', '====', ':x', '\u00fc', '%'])),
  'half of Authorization': (headers) =>
    set(headers, 'Authorization', (value) => value.slice(0, Math.floor(value.length / 2))),
  'other Authorization': (headers, random) =>
    void headers.push([
      'Authorization',
      random.pick(['Basic eDp5', 'Basic', 'Basic ', 'Bearer x', '', 'Basic ####', `Basic ${btoa('a')}`]),
    ]),
  'Authorization twice': (headers) =>
    void headers.push(...headers.filter(([name]) => name === 'Authorization').slice(0, 1)),
  'Authorization of another request': (headers, _random, donor) =>
    set(headers, 'Authorization', (value) => donor.headers.find(([name]) => name === 'Authorization')?.[1] ?? value),
  'no DPoP': (headers) => set(headers, 'DPoP', () => undefined),
  'DPoP of another request': (headers, _random, donor) =>
    void headers.push(...donor.headers.filter(([name]) => name === 'DPoP')),
  'DPoP twice': (headers) => void headers.push(...headers.filter(([name]) => name === 'DPoP')),
  'faulty DPoP': (headers, random) => void headers.push(['DPoP', random.pick(['', 'x', 'a.b.c', 'e30.e30.e30'])]),
  'faulty certificate': (headers, random) =>
    void headers.push(['client-cert', random.pick(['', 'x', ':AAAA:', '%zz'])]),
  'harmless headers': (headers, random) => void headers.push(random.pick(HARMLESS), random.pick(HARMLESS)),
  'header of a proxy': (headers, random) => void headers.push(random.pick(OF_PROXIES)),
  'unknown header': (headers, random) => void headers.push(random.pick(UNKNOWN)),
};

const ACCEPTS = ['*/*', 'application/json', 'application/json, */*', 'application/json;charset=UTF-8'];
const UNLIKELY_ACCEPTS = [
  ...['application/TOKEN-INTROSPECTION+JWT', 'application/json;q=0.1, application/*', 'text/html', 'text/*', ''],
  ...['text/html, application/json', 'application/jwt', 'nonsense', 'application/json;q=0', '*/*;q=0.1'],
];
const CONTENT_TYPES = [
  ...['application/x-www-form-urlencoded; charset=utf-8', 'application/x-www-form-urlencoded;charset=UTF-8'],
  'APPLICATION/X-WWW-FORM-URLENCODED',
];
const OTHER_CONTENT_TYPES = [
  ...['application/x-www-form-urlencoded; charset=latin1', 'application/x-www-form-urlencoded; charset=utf-16le'],
  ...['application/x-www-form-urlencoded; charset=nonsense', 'application/x-www-form-urlencoded;', 'application/json'],
  ...['text/plain', 'multipart/form-data; boundary=x', '', undefined],
];
const ORIGINS = [
  'https://evil.example',
  'null',
  '',
  'https://APP.example',
  'https://app.example/',
  'https://app.example:443',
];
const HARMLESS: readonly Header[] = [
  ['Cookie', '_session=x'],
  ['Referer', 'https://app.example/page'],
  ['User-Agent', 'fuzz'],
  ['TE', 'trailers'],
  ['Accept-Language', 'de'],
  ['Accept-Encoding', 'gzip, br'],
  ['Cache-Control', 'no-cache'],
  ['X-Request-Id', 'mine'],
  ['traceparent', '00-1-1-01'],
  ['Sec-Fetch-Site', 'cross-site'],
  ['Accept-Charset', 'latin1'],
  ['DNT', '1'],
];
const OF_PROXIES: readonly Header[] = [
  ['X-Forwarded-For', '192.0.2.1'],
  ['X-Forwarded-For', 'nonsense'],
  ['X-Forwarded-Proto', 'https'],
  ['X-Forwarded-Host', 'evil.example'],
  ['X-Forwarded-Proto', 'gopher'],
  ['Forwarded', 'for=192.0.2.1;host=x'],
  ['Via', '1.1 proxy'],
  ['X-Real-IP', '192.0.2.1'],
  ['X-Forwarded-Port', '99999'],
];
const UNKNOWN: readonly Header[] = [
  ['OAuth-Client-Attestation-PoP', 'x'],
  ['OAuth-Client-Attestation', 'a.b.c'],
  ['Content-Encoding', 'gzip'],
  ['Range', 'bytes=0-1'],
  ['X-HTTP-Method-Override', 'GET'],
  ['If-None-Match', '*'],
];

function nameAt(form: readonly Header[], at: number): string {
  return form[at]?.[0] ?? '';
}

function valueAt(form: readonly Header[], at: number): string {
  return form[at]?.[1] ?? '';
}

/** Changes the value of one header, if it is there. @param change undefined: removes it */
function set(headers: Header[], name: string, change: (value: string) => string | undefined): void {
  const at = headers.findIndex(([each]) => each === name);
  if (at === -1) return;
  const value = change((headers[at] as Header)[1]);
  headers.splice(at, 1, ...(value === undefined ? [] : [[name, value] as const]));
}

export interface Mutated {
  readonly request: RawRequest;
  /** what was done to it */
  readonly mutations: readonly string[];
}

/** @param donor another request, of which values are taken */
export function mutate(draft: Draft, donor: Draft, random: Random, host: string): Mutated {
  const mutations: string[] = [];
  const choose = <T>(list: Readonly<Record<string, T>>): T => {
    const [name, mutation] = random.pick(Object.entries(list));
    mutations.push(name);
    return mutation;
  };
  const form = draft.form === undefined ? undefined : [...draft.form];
  const headers: Header[] = [['Host', host], ...draft.headers];
  let text: string | Buffer | undefined;
  for (let left = random.pick([0, 0, 0, 0, 1, 1, 1, 1, 2, 3]); left > 0; left--) {
    const which = random.integer(10);
    const at = random.integer(form?.length ?? 1);
    if (form !== undefined && which < 6) choose(FORM_MUTATIONS)(form, at, random, donor);
    else if (form !== undefined && which === 6) {
      const body = text ?? bodyOf({ ...draft, form }).toString();
      text = choose(TEXT_MUTATIONS)(body.toString(), random);
    } else choose(HEADER_MUTATIONS)(headers, random, donor);
  }
  const body = Buffer.from(text ?? bodyOf({ ...draft, form }));
  return { request: finish({ ...draft, headers, body }, form !== undefined, random, mutations), mutations };
}

/** The length, which may be wrong, and rarely another method or target. */
function finish(request: RawRequest, hasBody: boolean, random: Random, mutations: string[]): RawRequest {
  const change = random.integer(60);
  const method = random.pick(['GET', 'POST', 'PUT', 'HEAD', 'OPTIONS', 'DELETE', 'post']);
  const target = random.pick([`${request.target}?scope=read`, `${request.target}/`, `${request.target}?`]);
  const isIncomplete = change === 2 && mutations.length === 0;
  const length = request.body.length + (isIncomplete ? 3 : 0);
  const note = { 0: method, 1: target, 2: isIncomplete ? 'an incomplete body' : undefined }[change];
  if (note !== undefined) mutations.push(note);
  return {
    method: change === 0 ? method : request.method,
    target: change === 1 ? target : request.target,
    headers: [...request.headers, ...(hasBody ? [['Content-Length', String(length)] as const] : [])],
    body: request.body,
  };
}
