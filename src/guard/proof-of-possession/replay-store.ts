// Remembers which DPoP proofs were used (RFC 9449 §11.1), for as long as they would be accepted. The one here is for one process;
// an API that runs in several gives the guard one that they share.

export interface ReplayStore {
  /**
   * @param id of the proof, up to 64 characters
   * @param expiresAt until when it must be remembered
   * @returns whether it is used for the first time; of several at the same time, for one only
   * @throws when nobody can tell: the guard answers 503
   */
  useOnce(id: string, expiresAt: Date): boolean | Promise<boolean>;
}

/** Some 100 bytes each. A minute of 3,000 requests per second. */
const MAX_REMEMBERED = 200_000;

export function createReplayStore(maxRemembered = MAX_REMEMBERED): ReplayStore {
  /** In the order in which they came, which is nearly that in which they expire. */
  const expiries = new Map<string, number>();
  return {
    useOnce(id, expiresAt) {
      const now = Date.now();
      for (const [old, expiry] of expiries) {
        if (expiry > now) break;
        expiries.delete(old);
      }
      if (expiries.has(id)) return false;
      // Forgetting one that still counts would let it be used again.
      if (expiries.size >= maxRemembered) throw new Error('too many DPoP proofs at once');
      expiries.set(id, expiresAt.getTime());
      return true;
    },
  };
}
