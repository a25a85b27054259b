// Every operation, in the order of the report.

import { clientCredentialsJwt, clientCredentialsOpaque } from './client-credentials.ts';
import type { Operation } from './operation.ts';

export const OPERATIONS: readonly Operation[] = [clientCredentialsOpaque, clientCredentialsJwt];
