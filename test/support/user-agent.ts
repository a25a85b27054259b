// A browser without a screen: follows redirects one by one, keeps cookies by path, fills in our
// forms. For what a real browser decides by itself (CSP, layout), see the browser tests.

import { createHash, randomBytes } from 'node:crypto';

interface Cookie {
  readonly name: string;
  readonly value: string;
  readonly path: string;
}

export interface PageVisit {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly html: string;
  /** where a redirect to another origin would lead; undefined while on our pages */
  readonly leavesTo: URL | undefined;
}

export interface UserAgent {
  readonly cookies: readonly Cookie[];
  /** Goes there and follows redirects until a page is shown or one leads away from the issuer. */
  visit(url: string): Promise<PageVisit>;
  /** Sends a form as a page of ours would, then follows redirects. */
  submit(action: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<PageVisit>;
}

/**
 * @param cookies of another window of the same browser
 * @param send to another node than the issuer names (other-node)
 */
export function createUserAgent(
  issuer: string,
  cookies: readonly Cookie[] = [],
  send: (url: URL, init: RequestInit) => Promise<Response> = fetch,
): UserAgent {
  let jar: Cookie[] = [...cookies];

  function remember(response: Response, requestPath: string): void {
    for (const line of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
      const name = pair.slice(0, pair.indexOf('='));
      const value = pair.slice(pair.indexOf('=') + 1);
      const attribute = (key: string) =>
        attributes.find((part) => part.toLowerCase().startsWith(`${key}=`))?.slice(key.length + 1);
      const path = attribute('path') ?? defaultPath(requestPath);
      jar = jar.filter((cookie) => cookie.name !== name || cookie.path !== path);
      // RFC 6265 §5.3: Max-Age has precedence.
      const expires = attribute('expires');
      const maxAge = attribute('max-age') ?? (expires === undefined ? 1 : Date.parse(expires) - Date.now());
      if (Number(maxAge) > 0) jar.push({ name, value, path });
    }
  }

  function cookieHeader(path: string): Record<string, string> {
    const matching = jar.filter(
      (cookie) => path === cookie.path || path.startsWith(cookie.path.endsWith('/') ? cookie.path : `${cookie.path}/`),
    );
    return matching.length === 0 ? {} : { cookie: matching.map(({ name, value }) => `${name}=${value}`).join('; ') };
  }

  async function go(target: string, init: RequestInit = {}): Promise<PageVisit> {
    let url = new URL(target, issuer);
    let request = init;
    for (let redirects = 0; redirects < 10; redirects++) {
      const response = await send(url, {
        ...request,
        redirect: 'manual',
        headers: { accept: 'text/html', ...(request.headers as Record<string, string>), ...cookieHeader(url.pathname) },
      });
      remember(response, url.pathname);
      const location = response.headers.get('location');
      const html = await response.text();
      if (location === null) {
        return { url: url.href, status: response.status, headers: response.headers, html, leavesTo: undefined };
      }
      const next = new URL(location, url);
      if (next.origin !== new URL(issuer).origin) {
        return { url: url.href, status: response.status, headers: response.headers, html, leavesTo: next };
      }
      url = next;
      request = {};
    }
    throw new Error('too many redirects');
  }

  return {
    get cookies() {
      return jar;
    },
    visit: (url) => go(url),
    submit: (action, fields, headers = {}) =>
      go(action, {
        method: 'POST',
        body: new URLSearchParams(fields),
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'sec-fetch-site': 'same-origin', ...headers },
      }),
  };
}

/** RFC 6265 §5.1.4: of a cookie without a path. */
function defaultPath(requestPath: string): string {
  return requestPath.slice(0, requestPath.lastIndexOf('/')) || '/';
}

export function pkcePair(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

/** The action of the form that holds the element with this id or button. */
export function formAction(html: string, suffix: 'login' | 'consent' | 'cancel'): string {
  const action = new RegExp(`action="([^"]*/${suffix})"`).exec(html)?.[1];
  if (action === undefined) throw new Error(`there is no ${suffix} form on this page:\n${html}`);
  return action;
}

/**
 * Signs in and allows, as often as the pages ask for it.
 * @returns where the browser is sent in the end
 */
export async function signInAndAllow(
  agent: UserAgent,
  authorizationUrl: string,
  user: { username: string; password: string },
): Promise<URL> {
  return goThrough(agent, await agent.visit(authorizationUrl), user);
}

/** The same, from the first page on. */
export async function goThrough(
  agent: UserAgent,
  first: PageVisit,
  user: { username: string; password: string },
): Promise<URL> {
  let page = first;
  for (let step = 0; step < 4 && page.leavesTo === undefined; step++) {
    if (page.html.includes('id="login-page"')) page = await agent.submit(formAction(page.html, 'login'), { ...user });
    else if (page.html.includes('id="consent-page"')) page = await agent.submit(formAction(page.html, 'consent'), {});
    else throw new Error(`neither login nor consent (${page.status}):\n${page.html}`);
  }
  if (page.leavesTo === undefined) throw new Error(`the pages do not end:\n${page.html}`);
  return page.leavesTo;
}
