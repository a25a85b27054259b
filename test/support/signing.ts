// Keys of clients, and what clients sign with them: assertions (RFC 7523), request objects (RFC
// 9101), DPoP proofs (RFC 9449). Each is right but for the changes that a test makes; a claim that
// is undefined is left out.

import { randomUUID } from 'node:crypto';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';

export const ASSERTION_TYPE = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';

export interface Signer {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  /** with kid and alg */
  readonly publicJwk: JWK;
  readonly thumbprint: string;
}

export interface Changes {
  readonly claims?: Record<string, unknown>;
  readonly header?: Record<string, unknown>;
}

export async function newSigner(alg = 'ES256'): Promise<Signer> {
  const pair = await generateKeyPair(alg, { extractable: true });
  const jwk = await exportJWK(pair.publicKey);
  const thumbprint = await calculateJwkThumbprint(jwk);
  return { alg, privateKey: pair.privateKey, publicJwk: { ...jwk, kid: thumbprint, alg, use: 'sig' }, thumbprint };
}

export function sign(
  signer: Signer,
  claims: Record<string, unknown>,
  header: Record<string, unknown> = {},
): Promise<string> {
  const defined = Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined));
  return new SignJWT(defined)
    .setProtectedHeader({ alg: signer.alg, kid: signer.publicJwk.kid as string, ...header } as { alg: string })
    .sign(signer.privateKey);
}

export function inSeconds(seconds = 0): number {
  return Math.floor(Date.now() / 1000) + seconds;
}

/** The form members with which a client authenticates by private_key_jwt. */
export async function assertion(
  issuer: string,
  clientId: string,
  signer: Signer,
  { claims = {}, header = {} }: Changes = {},
): Promise<Record<string, string>> {
  const all = {
    iss: clientId,
    sub: clientId,
    aud: issuer,
    iat: inSeconds(),
    exp: inSeconds(60),
    jti: randomUUID(),
    ...claims,
  };
  return { client_assertion_type: ASSERTION_TYPE, client_assertion: await sign(signer, all, header) };
}

export function requestObject(
  issuer: string,
  clientId: string,
  signer: Signer,
  params: Record<string, unknown>,
  { claims = {}, header = {} }: Changes = {},
): Promise<string> {
  const all = {
    iss: clientId,
    aud: issuer,
    iat: inSeconds(),
    nbf: inSeconds(),
    exp: inSeconds(300),
    client_id: clientId,
    ...params,
    ...claims,
  };
  return sign(signer, all, { typ: 'oauth-authz-req+jwt', ...header });
}

/** @param signer its key is shown in the header, as RFC 9449 §4.2 wants it */
export function dpopProof(
  signer: Signer,
  request: { htm: string; htu: string },
  { claims = {}, header = {} }: Changes = {},
): Promise<string> {
  const { kid: _kid, alg: _alg, use: _use, ...jwk } = signer.publicJwk;
  const all = { ...request, iat: inSeconds(), jti: randomUUID(), ...claims };
  return sign(signer, all, { typ: 'dpop+jwt', jwk, kid: undefined, ...header });
}
