// What needs Debian's packages, `npm run test:browser`: the pages in Chromium (or CHROMIUM_PATH),
// nginx, and the commands of README and docs with curl.
import { common } from './jest.config.mjs';

export default { ...common, testMatch: ['<rootDir>/test/**/*.browser.ts'], maxWorkers: 1 };
