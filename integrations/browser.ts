// What a recipe's user has: a browser that goes where the app sends it, and fills in the pages of Lanyard on the way. It runs no
// scripts; it is the user agent of the tests, one for each origin, as cookies are kept.

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { WAIT_MS } from '../test/support/patience.ts';
import { createUserAgent, formAction, type PageVisit, type UserAgent } from '../test/support/user-agent.ts';

export interface Visit {
  readonly url: string;
  readonly status: number;
  /** of the page at which it ends */
  readonly text: string;
  /** the pages of Lanyard on the way, by their id, e.g. `login-page` */
  readonly passed: readonly string[];
}

export interface Browser {
  /** Goes there, signs in, allows and confirms where Lanyard asks, and ends at a page of the app, or at one without a button. */
  open(url: string): Promise<Visit>;
  close(): Promise<void>;
}

export interface Login {
  readonly username: string;
  readonly password: string;
}

const MAX_STEPS = 25;
const POST_FORM = /(<form[^>]*method="post"[^>]*>)([\s\S]*?)<\/form>/i;

export function createHttpBrowser(issuer: string, user: Login): Browser {
  const agents = new Map<string, UserAgent>();

  function agentOf(url: string | URL): UserAgent {
    const { origin } = new URL(url);
    const agent = agents.get(origin) ?? createUserAgent(origin, [], navigate);
    agents.set(origin, agent);
    return agent;
  }

  /** @returns undefined for a page on which nothing is to be done */
  function next(page: PageVisit): Promise<PageVisit> | undefined {
    if (page.leavesTo !== undefined) return agentOf(page.leavesTo).visit(page.leavesTo.href);
    // A page of the app with a form is one that asks to go on.
    if (new URL(page.url).origin !== issuer) return POST_FORM.test(page.html) ? submitForm(page, {}) : undefined;
    switch (idOf(page)) {
      case 'login-page':
        return agentOf(issuer).submit(formAction(page.html, 'login'), { ...user });
      case 'consent-page':
        return agentOf(issuer).submit(formAction(page.html, 'consent'), {});
      case 'logout-page':
        return submitForm(page, { logout: 'yes' });
      case 'form-post-page':
        return submitForm(page, {});
      default:
        return undefined;
    }
  }

  /** The only form of a page, with its hidden fields. */
  function submitForm({ url, html }: PageVisit, button: Record<string, string>): Promise<PageVisit> {
    const [, opening = '', content = ''] = POST_FORM.exec(html) ?? [];
    const target = new URL(attribute(opening, 'action') ?? '', url);
    const hidden = (content.match(/<input[^>]*type="hidden"[^>]*>/g) ?? []).map((input) => [
      attribute(input, 'name') ?? '',
      attribute(input, 'value') ?? '',
    ]);
    const isForeign = target.origin !== new URL(url).origin;
    const headers = isForeign ? { 'sec-fetch-site': 'cross-site', origin: new URL(url).origin } : {};
    return agentOf(target).submit(target.href, { ...Object.fromEntries(hidden), ...button }, headers);
  }

  return {
    async open(url) {
      const passed: string[] = [];
      let page = await agentOf(url).visit(url);
      for (let step = 0; step < MAX_STEPS; step++) {
        const following = next(page);
        if (following === undefined) return { url: page.url, status: page.status, text: page.html, passed };
        if (page.leavesTo === undefined && idOf(page) !== '') passed.push(idOf(page));
        page = await following;
      }
      throw new Error(`${url}: the pages do not end: ${passed.join(', ')}`);
    },
    async close() {},
  };
}

/** By fetch it would be a request of a script (`Sec-Fetch-Mode: cors`), which some apps do not redirect to the sign-in. */
async function navigate(url: URL, { method = 'GET', headers, body }: RequestInit): Promise<Response> {
  const navigation = { 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
  const outgoing = request(url, {
    method,
    headers: { ...(headers as Record<string, string>), ...navigation },
    signal: AbortSignal.timeout(WAIT_MS),
  });
  outgoing.end(body === undefined ? undefined : String(body));
  const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
  const answered = new Headers();
  for (const [name, values = []] of Object.entries(incoming.headersDistinct)) {
    for (const value of values) answered.append(name, value);
  }
  return new Response((await text(incoming)) || null, { status: incoming.statusCode ?? 0, headers: answered });
}

function idOf({ html }: PageVisit): string {
  return /<main id="([^"]+)"/.exec(html)?.[1] ?? '';
}

function attribute(tag: string, name: string): string | undefined {
  const value = new RegExp(`\\s${name}="([^"]*)"`).exec(tag)?.[1];
  return value === undefined ? undefined : unescapeHtml(value);
}

function unescapeHtml(text: string): string {
  const characters: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
  return text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name: string) => characters[name] as string);
}
