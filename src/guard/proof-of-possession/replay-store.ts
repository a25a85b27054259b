// Stores which DPoP proofs were used (RFC 9449 §11.1), for as long as they would be accepted. This
// one is in memory; an API in several processes passes a shared one to the guard.

export interface ReplayStore {
  /**
   * @param id of the proof, up to 64 characters
   * @param expiresAt until when it must be stored
   * @returns whether this is the first use; of concurrent calls with one id, one returns true
   * @throws when the store is not available: the guard answers 503
   */
  useOnce(id: string, expiresAt: Date): boolean | Promise<boolean>;
}

/** About 100 bytes each. One minute at 3,000 requests per second. */
const MAX_PROOFS = 200_000;

export function createReplayStore(maxProofs = MAX_PROOFS): ReplayStore {
  /** In order of arrival, which is nearly the order of expiry. */
  const expiries = new Map<string, number>();
  return {
    useOnce(id, expiresAt) {
      const now = Date.now();
      for (const [old, expiry] of expiries) {
        if (expiry > now) break;
        expiries.delete(old);
      }
      if (expiries.has(id)) return false;
      // A proof that is evicted before it expires could be replayed.
      if (expiries.size >= maxProofs) throw new Error('too many DPoP proofs at once');
      expiries.set(id, expiresAt.getTime());
      return true;
    },
  };
}
