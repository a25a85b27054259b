// A browser without a screen, with what the demo needs: it keeps cookies by path, follows redirects, and sends the forms of our pages. It
// stops where a redirect leads to another origin, which is where an app would go on.

export interface Page {
  readonly status: number;
  readonly html: string;
  /** the `id` of the page, e.g. `login-page`; '' if it has none */
  readonly id: string;
  /** where a redirect leads to the app */
  readonly leavesTo: URL | undefined;
}

export interface Browser {
  open(url: string): Promise<Page>;
  /** Sends the form with this button, as a click would. */
  submit(page: Page, buttonId: string, fields?: Record<string, string>): Promise<Page>;
}

/** An authorization request takes three redirects at most. */
const MAX_REDIRECTS = 10;

export function createBrowser(origin: string): Browser {
  const jar = new Map<string, { path: string; pair: string }>();

  function remember(response: Response): void {
    for (const line of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split(';').map((part) => part.trim());
      const attribute = (name: string) =>
        attributes.find((text) => text.toLowerCase().startsWith(`${name}=`))?.slice(name.length + 1);
      const path = attribute('path') ?? '/';
      const key = `${pair.split('=', 1)[0]} ${path}`;
      const expires = attribute('expires');
      if (expires !== undefined && Date.parse(expires) <= Date.now()) jar.delete(key);
      else jar.set(key, { path, pair });
    }
  }

  function cookiesFor(path: string): string {
    const isSentTo = (cookiePath: string) => `${path}/`.startsWith(cookiePath === '/' ? '/' : `${cookiePath}/`);
    return [...jar.values()]
      .filter((cookie) => isSentTo(cookie.path))
      .map((cookie) => cookie.pair)
      .join('; ');
  }

  async function go(target: string, form?: Record<string, string>): Promise<Page> {
    let url = new URL(target, origin);
    let request = form === undefined ? { headers: {} } : formPost(form);
    for (let redirects = 0; redirects < MAX_REDIRECTS; redirects++) {
      const headers = { ...request.headers, cookie: cookiesFor(url.pathname) };
      const response = await fetch(url, { ...request, headers, redirect: 'manual' });
      remember(response);
      const html = await response.text();
      const location = response.headers.get('location');
      const id = /<main id="([^"]+)"/.exec(html)?.[1] ?? '';
      if (location === null) return { status: response.status, html, id, leavesTo: undefined };
      url = new URL(location, url);
      if (url.origin !== origin) return { status: response.status, html, id, leavesTo: url };
      request = { headers: {} };
    }
    throw new Error('too many redirects');
  }

  return {
    open: (url) => go(url),
    async submit(page, buttonId, fields = {}) {
      const form = page.html.split('<form ').find((part) => part.includes(`id="${buttonId}"`));
      const action = /action="([^"]+)"/.exec(form ?? '')?.[1];
      if (action === undefined) throw new Error(`the page has no form with a button #${buttonId}`);
      return go(action, fields);
    },
  };
}

/** A browser adds by itself that the form comes from a page of the same origin. */
function formPost(fields: Record<string, string>) {
  return { method: 'POST', body: new URLSearchParams(fields), headers: { 'sec-fetch-site': 'same-origin' } };
}
