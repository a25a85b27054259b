// What every page must be for all its readers: on a phone and a desktop, light and dark, with the
// keyboard alone. Screenshots go to coverage/screenshots, to be looked at.

import type { Page } from 'playwright-core';

const SCREENSHOTS = new URL('../../coverage/screenshots/', import.meta.url).pathname;
const DEVICES = [
  ['phone', 390, 844],
  ['desktop', 1280, 800],
] as const;
/** WCAG 2.2 §1.4.10 */
const NARROWEST_PX = 320;

/** Takes the four pictures of a page, and lists what is wrong with it. */
export async function inspectPage(page: Page, name: string): Promise<string[]> {
  const faults: string[] = [];
  for (const [device, width, height] of DEVICES) {
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      await page.screenshot({ path: `${SCREENSHOTS}${name}-${device}-${colorScheme}.png`, fullPage: true });
      for (const fault of await page.evaluate<string[]>(FAINT_TEXTS)) faults.push(`${colorScheme}: ${fault}`);
    }
    for (const fault of await page.evaluate<string[]>(CRAMPED_TEXTS)) faults.push(`${device}: ${fault}`);
    if ((await neededPx(page)) > width) faults.push(`${device}: needs ${await neededPx(page)} pixels`);
  }
  faults.push(...(await page.evaluate<string[]>(STRUCTURE)));
  faults.push(...(await withoutVisibleFocus(page)));
  await page.setViewportSize({ width: NARROWEST_PX, height: 640 });
  if ((await neededPx(page)) > NARROWEST_PX) faults.push(`needs ${await neededPx(page)} pixels`);
  return [...new Set(faults)];
}

const neededPx = (page: Page) => page.evaluate<number>('document.documentElement.scrollWidth');

/** Text of five characters or more none of whose lines has five: a column that is too narrow to read. */
const CRAMPED_TEXTS = `(() => {
  const faults = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.replace(/\\s+/g, ' ').trim();
    if (text.length < 5 || node.parentElement.closest('script, style')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const lines = new Map();
    for (const { top, width } of range.getClientRects()) lines.set(Math.round(top), (lines.get(Math.round(top)) ?? 0) + width);
    const widths = [...lines.values()];
    const characterPx = widths.reduce((sum, width) => sum + width, 0) / text.length;
    if (widths.length > 1 && Math.max(...widths) < 5 * characterPx) faults.push('cramped text: ' + text.slice(0, 30));
  }
  return faults;
})()`;

/** WCAG 2.2 §1.4.3: 4.5:1 for text; §1.4.11: 3:1 for what shows where a field is. */
const FAINT_TEXTS = `(() => {
  const rgb = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = rgb(color).map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (a, b) => {
    const [dark, light] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (light + 0.05) / (dark + 0.05);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      const [, , , alpha = 1] = rgb(color);
      if (alpha > 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const faults = [];
  for (const element of document.body.querySelectorAll('*')) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
    const style = getComputedStyle(element);
    if (element.tagName === 'SCRIPT' || style.display === 'none') continue;
    const name = element.tagName + ' ' + element.textContent.trim().slice(0, 30);
    if ((hasText || element.tagName === 'INPUT') && contrast(style.color, ground(element)) < 4.5) faults.push('faint text: ' + name);
    if (element.matches('input:not([type=hidden])') && contrast(style.borderColor, ground(element)) < 3) faults.push('faint field: ' + element.id);
  }
  return faults;
})()`;

const STRUCTURE = `(() => {
  const faults = [];
  const count = (selector) => document.querySelectorAll(selector).length;
  if (count('main') !== 1 || count('h1') !== 1) faults.push('not one main and one h1');
  if (document.documentElement.lang !== 'en' || document.title === '') faults.push('no language or no title');
  for (const input of document.querySelectorAll('input:not([type=hidden])')) {
    if (input.labels.length !== 1) faults.push('no label: ' + input.id);
  }
  for (const control of document.querySelectorAll('button, a, summary')) {
    if (control.textContent.trim() === '') faults.push('no words: ' + control.outerHTML);
  }
  const ids = [...document.querySelectorAll('[id]')].map((element) => element.id);
  if (new Set(ids).size !== ids.length) faults.push('an id occurs twice');
  return faults;
})()`;

/** WCAG 2.2 §2.4.7: walks through the page with the tab key. */
async function withoutVisibleFocus(page: Page): Promise<string[]> {
  const controls = 'input:not([type=hidden]), button, a, summary';
  const faults: string[] = [];
  const reached = new Set<number>();
  const expected = await page.locator(controls).count();
  for (let step = 0; step < expected + 1; step++) {
    await page.keyboard.press('Tab');
    const [place, name, outlinePx] = await page.evaluate<[number, string, number]>(
      `(({ activeElement: it }) => [
        [...document.querySelectorAll('${controls}')].indexOf(it),
        it.outerHTML,
        parseFloat(getComputedStyle(it).outlineWidth),
      ])(document)`,
    );
    if (name.startsWith('<body')) continue;
    reached.add(place);
    if (outlinePx < 2) faults.push(`focus is not seen: ${name}`);
  }
  if (reached.size < expected) faults.push(`the tab key reaches ${reached.size} of ${expected}`);
  return faults;
}
