// Jest runs tests in a realm of their own but hands them Node's `structuredClone`, whose results
// are objects of the outer realm. The engine asks `value.constructor === Object` of clones of its
// own options, and so refuses valid ones. The values it clones are like JSON, apart from
// `undefined` and a rare class instance, which stays as it is.

globalThis.structuredClone = function cloneInRealm(value) {
  if (Array.isArray(value)) return value.map(cloneInRealm);
  if (value === null || typeof value !== 'object') return value;
  if (value.constructor?.name !== 'Object' && Object.getPrototypeOf(value) !== null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, cloneInRealm(member)]));
};
