// POST /oauth2/token on the short path: the three grants that nearly every request is of. What a request writes is committed in one
// statement before its answer leaves, as on the engine's way (token-transaction); until then nothing has happened, so that
// the engine can still take over.

import type { IncomingMessage } from 'node:http';
import type { Client } from 'oidc-provider';
import { type FastClientCredentialsDeps, fastClientCredentials } from '../grants/client-credentials.ts';
import { type FastUserGrantsDeps, fastCodeExchange, fastRefresh } from '../grants/code-and-refresh.ts';
import type { FastGrant, Granted } from '../grants/grant.ts';
import { overloadIn } from '../http/overload.ts';
import { AlreadyConsumedError } from '../storage/artifact-store.ts';
import type { UnitOfWork } from '../storage/unit-of-work.ts';
import { noteFailedCommit } from '../tokens/token-transaction.ts';
import type { FastEndpoint } from './fast-endpoint.ts';
import { announcesPlainForm, type PlainFormDeps, readPlainForm } from './plain-request.ts';

export interface FastTokenDeps extends PlainFormDeps, FastClientCredentialsDeps, FastUserGrantsDeps {
  readonly unitOfWork: UnitOfWork;
}

export function fastToken(deps: FastTokenDeps): FastEndpoint {
  const grants = new Map<string, FastGrant>([
    ['client_credentials', fastClientCredentials(deps)],
    ['authorization_code', fastCodeExchange(deps)],
    ['refresh_token', fastRefresh(deps)],
  ]);

  async function grant(request: IncomingMessage): Promise<Granted | undefined> {
    const { client, params } = (await readPlainForm(deps, request)) ?? {};
    if (client === undefined || params === undefined || mustProveMore(client)) return undefined;
    const grantType = params.get('grant_type') ?? '';
    return client.grantTypeAllowed(grantType) ? grants.get(grantType)?.(client, params) : undefined;
  }

  return {
    exposedHeaders: 'DPoP-Nonce,WWW-Authenticate',
    takes: announcesPlainForm,
    async answer(request) {
      const collected = await deps.unitOfWork.collect(String(request.headers['x-request-id'] ?? ''), () =>
        grant(request),
      );
      if (collected.result === undefined) return undefined;
      const { body, idToken } = collected.result;
      try {
        const [signed] = await Promise.all([idToken, collected.commit()]);
        return { ...body, id_token: signed };
      } catch (error) {
        // Another request was faster, or there was no room: the engine sees the same.
        const isKnown = error instanceof AlreadyConsumedError || overloadIn(error) !== undefined;
        if (!isKnown) noteFailedCommit(request, error);
        throw error;
      }
    },
  };
}

/** Its tokens are bound to a key that this path does not look for, or it is held to a profile. */
function mustProveMore(client: Client): boolean {
  const { dpopBoundAccessTokens, tlsClientCertificateBoundAccessTokens, security_profile } = client as Client & {
    dpopBoundAccessTokens?: boolean;
    tlsClientCertificateBoundAccessTokens?: boolean;
    security_profile?: string;
  };
  return (
    dpopBoundAccessTokens === true || tlsClientCertificateBoundAccessTokens === true || security_profile !== undefined
  );
}
