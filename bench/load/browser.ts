// A browser for many logins: keeps cookies by name and path, follows redirects within the server,
// and stops at the redirect to the app. It knows the paths of the pages and does not parse HTML.

import type { Agent } from 'node:http';
import { PASSWORD } from '../fixtures.ts';
import { type Answer, FORM, send } from './http.ts';

export interface Browser {
  /** @returns the last redirect. @throws Error on a page other than login and consent */
  signInAndAllow(path: string, username: string): Promise<URL>;
}

/** Login, consent, and a redirect after each. */
const MAX_REQUESTS = 12;

export function createBrowser(origin: string, agent?: Agent): Browser {
  const jar = new Map<string, { path: string; pair: string }>();

  async function go(method: 'GET' | 'POST', path: string, body?: string): Promise<Answer> {
    const pathname = path.split('?', 1)[0] as string;
    const cookie = [...jar.values()]
      .filter((one) => pathname.startsWith(one.path))
      .map(({ pair }) => pair)
      .join('; ');
    const form = body === undefined ? {} : { ...FORM, 'sec-fetch-site': 'same-origin' };
    const answer = await send(method, origin + path, {
      headers: { accept: 'text/html', ...form, ...(cookie === '' ? {} : { cookie }) },
      ...(body === undefined ? {} : { body }),
      ...(agent && { agent }),
    });
    for (const line of answer.setCookies) remember(line);
    return answer;
  }

  function remember(line: string): void {
    const [pair = '', ...attributes] = line.split('; ');
    const attribute = (name: string) => attributes.find((text) => text.startsWith(`${name}=`))?.slice(name.length + 1);
    const path = attribute('path') ?? '/';
    const key = `${pair.split('=', 1)[0]} ${path}`;
    const expires = attribute('expires');
    if (expires !== undefined && Date.parse(expires) <= Date.now()) jar.delete(key);
    else jar.set(key, { path, pair });
  }

  return {
    async signInAndAllow(path, username) {
      let page = path;
      let answer = await go('GET', path);
      for (let count = 1; count < MAX_REQUESTS; count++) {
        if (answer.location !== undefined) {
          const target = new URL(answer.location, origin + page);
          if (target.origin !== origin) return target;
          page = target.pathname + target.search;
          answer = await go('GET', page);
        } else if (answer.body.includes('id="login-page"') && answer.status === 200) {
          const fields = new URLSearchParams({ username, password: PASSWORD });
          answer = await go('POST', `${page}/login`, fields.toString());
        } else if (answer.body.includes('id="consent-page"') && answer.status === 200) {
          answer = await go('POST', `${page}/consent`, '');
        } else {
          throw new Error(`neither login nor consent: ${answer.status} ${answer.body.slice(0, 300)}`);
        }
      }
      throw new Error('the pages do not end');
    },
  };
}
