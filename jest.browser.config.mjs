// The pages in a real browser: `npm run test:browser`. Needs Chromium (Debian's package, or CHROMIUM_PATH).
import { common } from './jest.config.mjs';

export default { ...common, testMatch: ['<rootDir>/test/**/*.browser.ts'], maxWorkers: 1, testTimeout: 60_000 };
