// Proof of possession (RFC 9449, RFC 8705): which keys a token request has shown, and the tokens that are bound to them.

import type { X509Certificate } from 'node:crypto';
import { type AccessToken, type Client, type ClientCredentials, errors } from 'oidc-provider';

/** Which keys the sender has shown to possess. */
export interface Proof {
  /** RFC 7638 thumbprint of the key of the DPoP proof */
  readonly jkt: string | undefined;
  readonly certificate: X509Certificate | undefined;
  /** Counts the DPoP proof as used. @throws InvalidDpopProof when it was used before (RFC 9449 §11.1) */
  spend(): Promise<void>;
}

/** @throws InvalidGrant when the client must prove a key and has not */
export function assertProven(client: Client, { jkt, certificate }: Proof): void {
  if (client.tlsClientCertificateBoundAccessTokens && certificate === undefined) {
    throw new errors.InvalidGrant('mutual TLS client certificate not provided');
  }
  if (client.dpopBoundAccessTokens && jkt === undefined) throw new errors.InvalidGrant('DPoP proof JWT not provided');
}

/** Counts the proof as used. @throws InvalidRequest when there are two keys (a token is bound to one) */
export async function bindToKey(
  token: AccessToken | ClientCredentials,
  proof: Proof,
  certificate: X509Certificate | undefined,
): Promise<void> {
  if (certificate !== undefined) token.setThumbprint('x5t', certificate);
  await proof.spend();
  if (proof.jkt !== undefined) token.setThumbprint('jkt', proof.jkt);
}

/** The certificate that the tokens of this client are bound to. */
export function boundCertificate(client: Client, { certificate }: Proof): X509Certificate | undefined {
  return client.tlsClientCertificateBoundAccessTokens ? certificate : undefined;
}
