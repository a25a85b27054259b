// The user of the device flow (RFC 8628): types the code into a browser, confirms, signs in,
// allows.

import { ALICE } from './oauth.ts';
import { createUserAgent, formAction, type PageVisit, type UserAgent } from './user-agent.ts';

export const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

export function hidden(html: string, name: string): string {
  const value = new RegExp(`name="${name}" value="([^"]*)"`).exec(html)?.[1];
  if (value === undefined) throw new Error(`no ${name}:\n${html}`);
  return value;
}

export async function typeUserCode(issuer: string, agent: UserAgent, userCode: string): Promise<PageVisit> {
  const page = await agent.visit(`${issuer}/oauth2/device`);
  const next = await agent.submit('/oauth2/device', { xsrf: hidden(page.html, 'xsrf'), user_code: userCode });
  // Without a session there is a form in between, which a browser submits by itself.
  if (!next.html.includes('document.forms[0].submit()')) return next;
  return agent.submit('/oauth2/device', {
    xsrf: hidden(next.html, 'xsrf'),
    user_code: hidden(next.html, 'user_code'),
  });
}

/** @param page the one that asks for confirmation */
export async function confirmDevice(
  agent: UserAgent,
  page: PageVisit,
  choice: Record<string, string> = { confirm: 'yes' },
): Promise<PageVisit> {
  const fields = { xsrf: hidden(page.html, 'xsrf'), user_code: hidden(page.html, 'user_code'), ...choice };
  return agent.submit('/oauth2/device', fields);
}

/** All of it, as alice. @returns the last page */
export async function approveDevice(
  issuer: string,
  userCode: string,
  agent = createUserAgent(issuer),
): Promise<PageVisit> {
  let page = await confirmDevice(agent, await typeUserCode(issuer, agent, userCode));
  for (let step = 0; step < 4 && !page.html.includes('id="device-done"'); step++) {
    if (page.html.includes('id="login-page"')) page = await agent.submit(formAction(page.html, 'login'), { ...ALICE });
    else page = await agent.submit(formAction(page.html, 'consent'), {});
  }
  return page;
}
