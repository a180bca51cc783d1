/** Says in the log when a gateway stops being ready and when it is again: probes see it at once, people read it later. */
import type { Clock } from "../base/index.ts";
import type { Logger } from "../telemetry/logger.ts";
import { rest } from "../tls/rest.ts";
import type { Readiness } from "./readiness.ts";

/** Milliseconds between looks: an SVID that ends makes no event. */
const TICK_MS = 1_000;

/** One line at each change, until the signal aborts. */
export async function logReadiness(
  readiness: () => Readiness,
  { clock, logger, signal }: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  let wasReady = true;
  while (!signal.aborted) {
    const { ready, reasons } = readiness();
    if (ready !== wasReady) {
      if (ready) logger.info("ready again");
      else logger.error("not ready", { reasons });
    }
    wasReady = ready;
    try {
      await rest(clock, TICK_MS, signal);
    } catch {
      // the end, or a clock that can not wait: then nobody looks
      return;
    }
  }
}
