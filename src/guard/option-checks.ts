// Checks of single options. Each failure is a TypeError that names the option.

export function isFilled(value: unknown): value is string {
  return typeof value === 'string' && value !== '';
}

export function assertUrl(name: string, value: unknown): void {
  assertOption(name, isHttpUrl(value), 'must be an absolute http(s) URL');
}

export function isHttpUrl(value: unknown): boolean {
  return typeof value === 'string' && URL.canParse(value) && /^https?:$/.test(new URL(value).protocol);
}

export function assertDuration(name: string, value: unknown): void {
  assertOption(name, typeof value === 'number' && value >= 0 && value < Infinity, 'must be 0 or more');
}

export function assertOption(name: string, isRight: boolean, problem: string): asserts isRight {
  if (!isRight) throw new TypeError(`createGuard: ${name} ${problem}`);
}
