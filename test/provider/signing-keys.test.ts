// The keys that the engine signs with: whatever the algorithm, the signature is one that others verify, and it is of the right text
// when many are signed together.

import { inspect } from 'node:util';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { compactVerify, importJWK, type JWK } from 'jose';
import { generateKey, KEY_ALGORITHMS } from '../../src/keys/generate-key.ts';
import { open } from '../../src/keys/seal.ts';
import { BatchSigningKey } from '../../src/provider/configuration/signing-keys.ts';

const SECRET = Buffer.alloc(32, 7);

interface KeyPair {
  readonly kid: string;
  readonly alg: string;
  readonly publicJwk: JWK;
  readonly privateJwk: JWK;
}

async function makeKeyPair(alg: string): Promise<KeyPair> {
  const { kid, publicJwk, sealedPrivateJwk } = await generateKey(alg, [SECRET]);
  return { kid, alg, publicJwk: publicJwk as JWK, privateJwk: JSON.parse(open(SECRET, kid, sealedPrivateJwk)) };
}

/** A compact JWS (RFC 7515 §3.1) as the engine puts it together. */
async function signText(key: BatchSigningKey, text: string): Promise<string> {
  const parts = [JSON.stringify({ alg: key.alg, kid: key.kid }), text].map((part) =>
    Buffer.from(part).toString('base64url'),
  );
  const signature = await key.sign(Buffer.from(parts.join('.')));
  return [...parts, Buffer.from(signature).toString('base64url')].join('.');
}

async function verifiedText(jws: string, { publicJwk, alg }: KeyPair): Promise<string> {
  const { payload } = await compactVerify(jws, await importJWK(publicJwk, alg));
  return Buffer.from(payload).toString();
}

describe.each([...KEY_ALGORITHMS])('%s', (alg) => {
  let pair: KeyPair;
  let key: BatchSigningKey;
  beforeAll(async () => {
    pair = await makeKeyPair(alg);
    key = new BatchSigningKey(pair);
  });

  test('a signature is verified with the public key, and with no other', async () => {
    const jws = await signText(key, 'text');
    expect(await verifiedText(jws, pair)).toBe('text');
    await expect(verifiedText(jws, await makeKeyPair(alg))).rejects.toThrow('signature verification failed');
  });

  test('each of fifty that are signed together is of its own text', async () => {
    const texts = Array.from({ length: 50 }, (_, index) => `text ${index}`);
    const signed = await Promise.all(texts.map((text) => signText(key, text)));
    expect(await Promise.all(signed.map((jws) => verifiedText(jws, pair)))).toEqual(texts);
  });

  test('what it shows of itself is what is published, and the private key cannot be taken out of it', () => {
    const { kid, kty, crv, x, y, n, e, pub, use } = key;
    expect(JSON.parse(JSON.stringify({ kid, alg: key.alg, kty, crv, x, y, n, e, pub, use }))).toEqual(pair.publicJwk);
    const shown = `${inspect(key, { showHidden: true, depth: 9 })}${JSON.stringify(key)}`;
    const secrets = [pair.privateJwk.d, pair.privateJwk.priv, pair.privateJwk.p].filter((value) => value !== undefined);
    expect(secrets.length).toBeGreaterThan(0);
    for (const secret of secrets) expect(shown).not.toContain(secret);
  });
});

test('a key that is none is refused when the engine is made, not when it has to sign', async () => {
  const pair = await makeKeyPair('ES256');
  const other = await makeKeyPair('RS256');
  expect(() => new BatchSigningKey({ ...pair, privateJwk: { kty: 'EC' } })).toThrow();
  expect(() => new BatchSigningKey({ ...pair, privateJwk: other.privateJwk })).toThrow();
});

test('what is asked for in one turn of the event loop goes to the threads in one go, at its end', async () => {
  const key = new BatchSigningKey(await makeKeyPair('ES256'));
  const { subtle } = globalThis.crypto;
  const order: string[] = [];
  const original = subtle.sign;
  Object.defineProperty(subtle, 'sign', {
    configurable: true,
    value: (...args: Parameters<typeof original>) => {
      order.push('signs');
      return original.apply(subtle, args);
    },
  });
  try {
    const request = async (steps: number) => {
      for (let step = 0; step < steps; step++) await undefined;
      order.push('asks');
      await key.sign(Buffer.from('text'));
    };
    await Promise.all([1, 5, 9].map(request));
  } finally {
    Reflect.deleteProperty(subtle, 'sign');
  }
  expect(order).toEqual(['asks', 'asks', 'asks', 'signs', 'signs', 'signs']);
});
