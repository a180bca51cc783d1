/** The one way to skip a test: it says so, with the reason, and the runtimes count it as skipped. */

/** Options to spread into `it(name, options, fn)`. */
export interface SkipOptions {
  skip?: string;
}

/**
 * Skips a test that has no meaning here, for example on one runtime.
 *
 * @param name the test's title
 * @param reason why it is skipped; `undefined` runs it
 *
 * @example
 * ```ts
 * const title = "[S-4] never resumes";
 * it(title, skipWhen(title, runtime.name === "deno" ? "Deno cannot switch tickets off" : undefined), () => {});
 * ```
 */
export function skipWhen(name: string, reason: string | undefined): SkipOptions {
  if (reason === undefined) return {};
  console.log(`skip ${name}: ${reason}`);
  return { skip: reason };
}

/**
 * Skips a test that lacks a tool or a file which a developer may not have. With `CI=true` nothing may be missing: it throws.
 *
 * @param name the test's title
 * @param missing what is missing and how to get it; `undefined` runs the test
 */
export function skipMissing(name: string, missing: string | undefined): SkipOptions {
  if (missing !== undefined && process.env.CI === "true") throw new Error(`${name} must run with CI=true: ${missing}`);
  return skipWhen(name, missing);
}
