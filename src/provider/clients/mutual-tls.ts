// Mutual TLS (RFC 8705): the engine's configuration of it, and the addresses at which clients
// present certificates.

import type { X509Certificate } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type Provider from 'oidc-provider';
import type { Configuration } from 'oidc-provider';
import { overrideMethod } from '../engine-internals.ts';
import { subjectMatches } from './certificate-subject.ts';

export interface ClientCertificate {
  readonly certificate: X509Certificate;
  /** whether its chain leads to an authority that the operator has named */
  readonly isFromTrustedAuthority: boolean;
}

export type ReadClientCertificate = (request: IncomingMessage) => ClientCertificate | undefined;

type MutualTls = NonNullable<NonNullable<Configuration['features']>['mTLS']>;

/**
 * Configuration `features.mTLS`.
 * @param read undefined: clients cannot present certificates here
 */
export function mutualTls(read: ReadClientCertificate | undefined): MutualTls {
  // A client whose tokens are bound to a certificate (engine-metadata) cannot present one, and gets
  // no token.
  if (read === undefined) return { enabled: false, getCertificate: () => undefined } as MutualTls;
  return {
    enabled: true,
    certificateBoundAccessTokens: true,
    tlsClientAuth: true,
    selfSignedTlsClientAuth: true,
    getCertificate: (ctx) => validCertificate(read, ctx.req),
    certificateAuthorized: (ctx) => read(ctx.req)?.isFromTrustedAuthority === true,
    certificateSubjectMatches(ctx, property, expected) {
      const certificate = read(ctx.req)?.certificate;
      return certificate !== undefined && subjectMatches(certificate, property, expected);
    },
  };
}

/**
 * A proxy that forwards self-signed certificates may forward expired ones too.
 * @returns the certificate of this request if it is valid now
 */
export function validCertificate(
  read: ReadClientCertificate | undefined,
  request: IncomingMessage,
): X509Certificate | undefined {
  const certificate = read?.(request)?.certificate;
  if (certificate === undefined) return undefined;
  const now = Date.now();
  const isValid = Date.parse(certificate.validFrom) <= now && now <= Date.parse(certificate.validTo);
  return isValid ? certificate : undefined;
}

/** The endpoints at which a client may have to present its certificate (RFC 8705 §5). */
const ALIASED = {
  token_endpoint: 'token',
  introspection_endpoint: 'introspection',
  revocation_endpoint: 'revocation',
  userinfo_endpoint: 'userinfo',
  pushed_authorization_request_endpoint: 'pushed_authorization_request',
  device_authorization_endpoint: 'device_authorization',
} as const;

/**
 * For the discovery document.
 * @param origin where the listener for certificates is reached; undefined: at the issuer
 */
export function endpointAliases(
  origin: string | undefined,
  routes: Readonly<Record<(typeof ALIASED)[keyof typeof ALIASED], string>>,
): { mtls_endpoint_aliases?: Record<string, string> } {
  if (origin === undefined) return {};
  const aliases = Object.entries(ALIASED).map(([name, route]) => [name, origin + routes[route]]);
  return { mtls_endpoint_aliases: Object.fromEntries(aliases) };
}

/**
 * A DPoP proof names the address that the client has called (RFC 9449 §4.2), which may be an alias;
 * the engine knows only the addresses at the issuer.
 */
export function acceptAliases(provider: Provider, origin: string | undefined): void {
  if (origin === undefined) return;
  const routes = new Set<string>(Object.values(ALIASED));
  overrideMethod(provider, 'OIDCContext.prototype.urlFor', (urlFor) => {
    return function (name, options) {
      const url = urlFor.call(this, name, options);
      const isCalled = name === this.route && routes.has(name) && this.ctx.state.origin === origin;
      return isCalled ? origin + new URL(url).pathname : url;
    };
  });
}
