// Renders the pages: Eta templates, one inline style sheet, no scripts but for the form that is only passing through. Each page's
// Content-Security-Policy names what is inline by its hash, and the places that its form may lead to.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';

const VIEWS = new URL('./views/', import.meta.url);
const style = readFileSync(new URL('style.css', VIEWS), 'utf8');
const styleHash = hashSource(style);
const submitScript = 'document.forms[0].submit();';
const submitScriptHash = hashSource(submitScript);
const eta = new Eta({ views: fileURLToPath(VIEWS), cache: true, autoEscape: true });

export type PageName =
  | 'login'
  | 'consent'
  | 'error'
  | 'logout'
  | 'signed-out'
  | 'form-post'
  | 'user-code'
  | 'device-confirm'
  | 'device-done';

interface PageContext {
  status: number;
  type: string;
  body: unknown;
  set(name: string, value: string): void;
}

/**
 * @param options.formTargets CSP sources that the form of this page may lead to, beside ourselves. Browsers check
 *   `form-action` along the redirects that follow the form, so the client's redirect URI belongs here.
 * @param options.submitsItself the page may run the one script that submits its form
 */
export function showPage(
  ctx: PageContext,
  name: PageName,
  data: Record<string, unknown>,
  options: { status?: number; formTargets?: readonly string[]; submitsItself?: boolean } = {},
): void {
  const scripts = options.submitsItself === true ? `script-src ${submitScriptHash}; ` : '';
  const formAction = ["'self'", ...(options.formTargets ?? [])].join(' ');
  ctx.set(
    'Content-Security-Policy',
    `default-src 'none'; ${scripts}style-src ${styleHash}; form-action ${formAction}; frame-ancestors 'none'; base-uri 'none'`,
  );
  // With `no-referrer` browsers send `Origin: null` with our own forms.
  ctx.set('Referrer-Policy', 'same-origin');
  ctx.set('Cache-Control', 'no-store');
  ctx.status = options.status ?? 200;
  ctx.body = eta.render(`./${name}`, { ...data, style, script: submitScript });
  ctx.type = 'html';
}

function hashSource(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
