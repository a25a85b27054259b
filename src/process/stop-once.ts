// How what a start has opened is closed again: an AsyncDisposableStack closes it in reverse order, each part even when another one
// fails; here is what such a stack lacks.

/**
 * A second `disposeAsync` would resolve at once, while the first is underway.
 * @returns a function that closes everything once, and resolves for every caller when all of it is closed
 */
export function stopOnce(opened: AsyncDisposableStack): () => Promise<void> {
  let stopping: Promise<void> | undefined;
  return () => {
    stopping ??= opened.disposeAsync();
    return stopping;
  };
}
