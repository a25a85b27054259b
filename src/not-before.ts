// "Not before" instants: everything issued to a client or a user before that instant is void. `iat` counts whole seconds
// (RFC 7519 §2), so the instant is a whole second too, the next one, and whatever sets it answers when it has passed. Then
// a token that is requested after the answer is always newer, and one from before is always older.

export function notBeforeForNow(): Date {
  return new Date((Math.floor(Date.now() / 1000) + 1) * 1000);
}

/** Waits until the instant has passed: one second at most. */
export async function untilTokensAreNewer(notBefore: Date): Promise<void> {
  const remainingMs = notBefore.getTime() - Date.now();
  if (remainingMs > 0) await new Promise((resolve) => setTimeout(resolve, remainingMs));
}
