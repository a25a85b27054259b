// Tests run the sources as they are (TypeScript stripped by swc) against a real PostgreSQL, which
// test/support/ starts.
import { TEST_TIMEOUT_MS } from './test/support/patience.ts';

export const common = {
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  setupFiles: ['<rootDir>/test/support/in-realm-clone.mjs'],
  globalSetup: '<rootDir>/test/support/global-setup.mjs',
  globalTeardown: '<rootDir>/test/support/global-teardown.mjs',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2023', parser: { syntax: 'typescript' } }, module: { type: 'es6' }, sourceMaps: 'inline' },
    ],
  },
  // Every test file runs on its own database; two workers fit a two-core machine.
  maxWorkers: 2,
  testTimeout: TEST_TIMEOUT_MS,
};

export default { ...common, testMatch: ['<rootDir>/test/**/*.test.ts'] };
