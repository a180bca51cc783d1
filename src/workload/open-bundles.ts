/** Opens the bundle streams of a Workload API. */
import type { BundleFeed } from "./bundle-feed.ts";
import { StreamedBundles } from "./bundle-streams.ts";
import { holdClient, type OpenOptions, type SourceOptions, whenReady } from "./open.ts";
import { JWT_BUNDLES, X509_BUNDLES } from "./profiles.ts";
import { Source } from "./source.ts";

/** Waits for the first bundles of both kinds. */
export async function openBundleStreams(options: SourceOptions & OpenOptions): Promise<BundleFeed> {
  const { connection, release } = holdClient(options);
  const [x509, jwt] = [new Source(connection, X509_BUNDLES), new Source(connection, JWT_BUNDLES)];
  const feed = new StreamedBundles(x509, jwt, async () => {
    await Promise.all([x509.close(), jwt.close()]);
    await release();
  });
  const opening = {
    connection,
    ready: (signal: AbortSignal) => feed.ready(signal),
    lastError: () => feed.lastError,
    close: () => feed.close(),
  };
  await whenReady(opening, options);
  return feed;
}
