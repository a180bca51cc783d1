/** A program: takes a bundle by URL, by the platform's own fetch, and prints it or the first trouble. */
import { TrustDomain } from "../../src/id/index.ts";
import { silentLogger } from "../../src/telemetry/logger.ts";
import { BundleSource } from "../../src/workload/index.ts";

const [url = "", name = ""] = process.argv.slice(2);
const opening = new AbortController();
const logger = {
  ...silentLogger,
  warn(_: string, fields: { error?: unknown } = {}) {
    console.log(fields.error);
    opening.abort();
  },
};
try {
  const source = await BundleSource.fromUrl(url, { trustDomain: name, logger, signal: opening.signal });
  console.log(`keys ${source.jwtBundleFor(TrustDomain.parse(name))?.keys.length}`);
  await source.close();
} catch (error) {
  if (!opening.signal.aborted) throw error;
}
