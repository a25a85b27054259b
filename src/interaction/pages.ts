// Renders the pages: Eta templates with one inline style sheet. The only script is the one that
// submits a form_post response. Each page's Content-Security-Policy names what is inline by its
// hash.

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

/**
 * CSP `form-action` of each page. Chromium checks it along all redirects that follow a form, also
 * those of the app, which nobody here can name. So a page whose form may end at an app has none
 * (docs/security.md, "Pages"); the forms of the device flow end on pages of ours.
 */
const FORM_ACTION = {
  login: undefined,
  consent: undefined,
  logout: undefined,
  'form-post': undefined,
  'user-code': "'self'",
  'device-confirm': "'self'",
  'device-done': "'none'",
  'signed-out': "'none'",
  error: "'none'",
  start: "'none'",
} as const;

export type PageName = keyof typeof FORM_ACTION;

interface PageContext {
  status: number;
  type: string;
  body: unknown;
  get(name: string): string;
  set(name: string, value: string): void;
}

export interface ErrorPage {
  readonly title: string;
  /** for the person in front of the browser */
  readonly explanation: string;
  /** stable */
  readonly code: string;
  /** for the developers of the app */
  readonly description?: string | undefined;
  /** where the person can begin again */
  readonly restartUrl?: string | undefined;
  /** `Start again` if left out */
  readonly restartLabel?: string | undefined;
  /** other ways on */
  readonly links?: readonly { readonly href: string; readonly label: string }[] | undefined;
}

/** Of a page that belongs to a login which is over, or is another browser's. */
export const STALE_PAGE = {
  title: 'This page is no longer valid',
  reason: 'It was opened in another window, or too long ago.',
  advice: 'Go back to the app and sign in from there.',
};

/** @param options.submitsItself the page may run the one script that submits its form */
export function showPage(
  ctx: PageContext,
  name: PageName,
  data: Record<string, unknown>,
  options: { status?: number; submitsItself?: boolean } = {},
): void {
  const policy = [
    "default-src 'none'",
    ...(options.submitsItself === true ? [`script-src ${submitScriptHash}`] : []),
    `style-src ${styleHash}`,
    ...(data.logo === undefined ? [] : ["img-src 'self'"]),
    ...(FORM_ACTION[name] === undefined ? [] : [`form-action ${FORM_ACTION[name]}`]),
    "frame-ancestors 'none'",
    "base-uri 'none'",
  ];
  ctx.set('Content-Security-Policy', policy.join('; '));
  // With `no-referrer` browsers would send `Origin: null` with our own forms.
  ctx.set('Referrer-Policy', 'same-origin');
  ctx.set('Cache-Control', 'no-store');
  ctx.status = options.status ?? 200;
  ctx.body = eta.render(`./${name}`, { ...data, style, script: submitScript });
  ctx.type = 'html';
}

export function showErrorPage(ctx: PageContext, status: number, page: ErrorPage): void {
  showPage(ctx, 'error', { ...page, requestId: ctx.get('x-request-id') }, { status });
}

/** A client without a name is shown by its id. */
export function clientNameOf(client: { clientId: string; clientName?: string | undefined }): string {
  return client.clientName || client.clientId;
}

function hashSource(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
