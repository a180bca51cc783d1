/** Bundles from a file. */
import type { Clock } from "../base/clock.ts";
import { SpiffeError } from "../base/errors.ts";
import type { TrustDomain } from "../id/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import { readBundleDocument } from "./bundle-document.ts";
import { DocumentFeed } from "./bundle-feed.ts";
import { isMissing, readFileWhole } from "./file-read.ts";
import { followFiles } from "./file-watch.ts";
import { asSpiffeError } from "./held.ts";

/** Follows the file until the feed is closed. */
export function fileFeed(
  path: string,
  trustDomain: TrustDomain | undefined,
  deps: { clock: Clock; logger: Logger },
): DocumentFeed {
  const feed = new DocumentFeed(`the file ${path}`, deps);
  const { held } = feed;
  const read = async (): Promise<"done" | "failed"> => {
    held.reading();
    try {
      const verdict = readBundleDocument(await readFileWhole(path), trustDomain);
      if (verdict.ok) {
        held.set(verdict.value);
        return "done";
      }
      const { reason, message } = verdict;
      held.trouble(new SpiffeError("ERR_SPIFFE_BUNDLE", `${path}: ${message}`, { reason, phase: "read" }), true);
    } catch (thrown) {
      const error = asSpiffeError(thrown);
      // A bundle that was removed was removed on purpose: whoever replaces a file has no moment without one.
      if (isMissing(error)) held.withdraw("revoked", error);
      else held.trouble(error, false);
    }
    return "failed";
  };
  feed.running = followFiles({ paths: () => [path], read, clock: held.clock, signal: held.closing });
  return feed;
}
