// The forms that the engine makes as HTML of its own, for logout and the device flow. Our pages need the two values in them.

import type { EngineForm } from './pages.ts';

/** @throws Error when the engine's HTML is not the one that this was written against */
export function readEngineForm(html: string): EngineForm {
  const action = /action="([^"]*)"/.exec(html)?.[1];
  const xsrf = /name="xsrf" value="([^"]*)"/.exec(html)?.[1];
  if (action === undefined || xsrf === undefined) throw new Error('oidc-provider has changed its form');
  return { action, xsrf };
}
