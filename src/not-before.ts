// "Not before" watermarks: everything issued to a client or a user before that instant is void. `iat` counts whole seconds
// (RFC 7519 §2), so a watermark is a whole second too, the next one; whoever sets it waits until it has come before answering.
// Then a token that is asked for after the answer is always newer, and one from before is always older.

export function notBeforeForNow(): Date {
  return new Date((Math.floor(Date.now() / 1000) + 1) * 1000);
}

/** Waits for the watermark to pass: one second at most. */
export async function untilTokensAreNewer(watermark: Date): Promise<void> {
  const remainingMs = watermark.getTime() - Date.now();
  if (remainingMs > 0) await new Promise((resolve) => setTimeout(resolve, remainingMs));
}
