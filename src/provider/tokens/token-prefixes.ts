// Opaque tokens begin with a prefix that names their kind. Secret scanners find leaked tokens by
// it, and a token of unknown kind (RFC 7662 §2.1: the hint may be wrong or missing) is looked up in
// one model only. A prefix proves nothing: the row decides.

import type Provider from 'oidc-provider';
import { overrideMethod } from '../engine-internals.ts';

const PREFIXES = { AccessToken: 'lya_', ClientCredentials: 'lyc_', RefreshToken: 'lyr_' } as const;

const PREFIXED_MODELS = ['AccessToken', 'ClientCredentials', 'RefreshToken'] as const;
export type PrefixedModel = (typeof PREFIXED_MODELS)[number];

/** Opaque tokens of this engine get their prefix. */
export function prefixTokens(provider: Provider): void {
  for (const model of PREFIXED_MODELS) {
    overrideMethod(provider, `${model}.prototype.generateTokenId`, (generateTokenId) => {
      return function () {
        const id = generateTokenId.call(this);
        // The id of a JWT is no credential.
        return this.format === 'jwt' ? id : PREFIXES[model] + id;
      };
    });
  }
}

/** @returns undefined if the id has no prefix */
export function modelByPrefix(id: string): PrefixedModel | undefined {
  return PREFIXED_MODELS.find((model) => id.startsWith(PREFIXES[model]));
}

/** Whether this id belongs to one of the other models, so that there is nothing to look for. */
export function hasOtherPrefix(model: string, id: string): boolean {
  const found = modelByPrefix(id);
  return found !== undefined && found !== model;
}
