// How the payload of a model is stored: without its id, and sealed where it holds what would give a
// running login away.

import { createHmac, hkdfSync } from 'node:crypto';
import type { AdapterPayload } from 'oidc-provider';
import { open, seal } from '../../keys/seal.ts';

/**
 * The engine looks these up by a second key and saves them again by their id, so the payload must
 * keep it. It is sealed under the key of the installation, and the second key is hashed with that:
 * there are too few user codes for a plain hash.
 */
const KEEPS_ID = new Set(['DeviceCode']);

/**
 * An Interaction holds the id of the session and its own id, both of which are cookie values, and
 * every parameter of the request, as a pushed request does. The key is made of the id, which is not
 * stored.
 */
const SEALED = new Set(['Interaction', 'PushedAuthorizationRequest']);

const NAME_OF_SEAL = 'oidc artifact';

export interface PayloadSeals {
  /** @returns what is stored */
  close(model: string, id: string, payload: AdapterPayload): object;
  open(model: string, id: string, stored: AdapterPayload): AdapterPayload;
  /** for what was found by a second key, without its id */
  openWithoutId(stored: AdapterPayload): AdapterPayload;
  hashUserCode(userCode: string): string;
}

export function createPayloadSeals(artifactKey: Buffer): PayloadSeals {
  return {
    close(model, id, payload) {
      if (KEEPS_ID.has(model)) return sealWith(artifactKey, payload);
      const { jti: _, ...withoutId } = payload;
      return SEALED.has(model) ? sealWith(keyFrom(id), withoutId) : withoutId;
    },
    open(model, id, stored) {
      if (KEEPS_ID.has(model)) return openWith(artifactKey, stored);
      return SEALED.has(model) ? openWith(keyFrom(id), stored) : stored;
    },
    openWithoutId: (stored) => openWith(artifactKey, stored),
    hashUserCode: (userCode) => createHmac('sha256', artifactKey).update(userCode).digest('base64url'),
  };
}

function keyFrom(id: string): Buffer {
  return Buffer.from(hkdfSync('sha256', id, 'lanyard', NAME_OF_SEAL, 32));
}

function sealWith(key: Buffer, payload: object): { sealed: string } {
  return { sealed: seal(key, NAME_OF_SEAL, JSON.stringify(payload)) };
}

function openWith(key: Buffer, stored: AdapterPayload): AdapterPayload {
  return JSON.parse(open(key, NAME_OF_SEAL, (stored as { sealed: string }).sealed));
}
