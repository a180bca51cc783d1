/** Waiting for what has to come, so that a test which waits in vain fails and says for what. */

/** Milliseconds: far above what anything here takes, on a busy machine as well. */
const PATIENCE_MS = 15_000;

/** What a promise gives; rejects when it gives nothing for long. */
export async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`it did not happen: ${what}`)), PATIENCE_MS);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
