// Opaque tokens begin with a mark that says what they are: scanners find leaked ones by it, and whoever is asked for a token of
// unknown kind (RFC 7662 §2.1: the hint may be wrong or missing) need not look for it among the others. A mark proves nothing:
// what counts is the row.

import type Provider from 'oidc-provider';

const MARKS = { AccessToken: 'lya_', ClientCredentials: 'lyc_', RefreshToken: 'lyr_' } as const;

export type PrefixedModel = keyof typeof MARKS;

/** Makes this engine instance mark what it issues from now on. */
export function prefixTokens(provider: Provider): void {
  for (const [model, mark] of Object.entries(MARKS)) {
    const prototype = provider[model as PrefixedModel].prototype as unknown as IssuingModel;
    const generateTokenId = prototype.generateTokenId;
    prototype.generateTokenId = function () {
      const id = generateTokenId.call(this);
      // The id of a JWT is no credential.
      return this.format === 'jwt' ? id : mark + id;
    };
  }
}

interface IssuingModel {
  readonly format?: string;
  generateTokenId(this: IssuingModel): string;
}

/** @returns undefined if there is no mark */
export function modelByPrefix(id: string): PrefixedModel | undefined {
  for (const [model, mark] of Object.entries(MARKS)) if (id.startsWith(mark)) return model as PrefixedModel;
  return undefined;
}

/** Whether this id belongs to one of the other models, so that there is nothing to look for. */
export function hasOtherPrefix(model: string, id: string): boolean {
  const marked = modelByPrefix(id);
  return marked !== undefined && marked !== model;
}
