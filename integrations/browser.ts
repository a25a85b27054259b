// What a recipe's user has: a browser that goes where the app sends it, and fills in the pages of Lanyard on the way. It runs no
// scripts; it is the user agent of the tests, one for each origin, as cookies are kept.

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

export function createHttpBrowser(issuer: string, user: Login): Browser {
  const agents = new Map<string, UserAgent>();

  function agentOf(url: string | URL): UserAgent {
    const { origin } = new URL(url);
    const agent = agents.get(origin) ?? createUserAgent(origin);
    agents.set(origin, agent);
    return agent;
  }

  /** @returns undefined for a page on which nothing is to be done */
  function next(page: PageVisit): Promise<PageVisit> | undefined {
    if (page.leavesTo !== undefined) return agentOf(page.leavesTo).visit(temporarily(page.leavesTo).href);
    if (new URL(page.url).origin !== issuer) return undefined;
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
  function submitForm({ html }: PageVisit, button: Record<string, string>): Promise<PageVisit> {
    const action = unescapeHtml(/<form method="post" action="([^"]*)"/.exec(html)?.[1] ?? '');
    const hidden = [...html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)];
    const fields = Object.fromEntries(hidden.map(([, name = '', value = '']) => [name, unescapeHtml(value)]));
    const url = new URL(action, issuer);
    const isForeign = url.origin !== issuer;
    const headers = isForeign ? { 'sec-fetch-site': 'cross-site', origin: issuer } : {};
    return agentOf(url).submit(url.href, { ...fields, ...button }, headers);
  }

  return {
    async open(url) {
      const passed: string[] = [];
      let page = await agentOf(url).visit(url);
      for (let step = 0; step < MAX_STEPS; step++) {
        const following = next(page);
        if (following === undefined) return { url: page.url, status: page.status, text: page.html, passed };
        if (page.leavesTo === undefined) passed.push(idOf(page));
        page = await following;
      }
      throw new Error(`${url}: the pages do not end: ${passed.join(', ')}`);
    },
    async close() {},
  };
}

function idOf({ html }: PageVisit): string {
  return /<main id="([^"]+)"/.exec(html)?.[1] ?? '';
}

function unescapeHtml(text: string): string {
  const characters: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', '#39': "'" };
  return text.replace(/&(amp|lt|gt|quot|#39);/g, (_, name: string) => characters[name] as string);
}

/** TEMPORARY, until the API is the default: with ADD_RESOURCE=1 the app need not name it. */
function temporarily(url: URL): URL {
  if (process.env.ADD_RESOURCE && url.pathname === '/oauth2/authorize' && !url.searchParams.has('resource')) {
    url.searchParams.set('resource', 'https://orders.example');
  }
  return url;
}
