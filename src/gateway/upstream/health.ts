/** Active health: every address of an upstream is asked from time to time, over the connection that requests take. */
import type { Clock } from "../../base/index.ts";
import type { Endpoint } from "./endpoint.ts";

/** Milliseconds that a check may take. */
const CHECK_TIMEOUT_MS = 5_000;
/** Bytes of an answer that are read before its connection is given up. */
const MAX_BODY_BYTES = 65_536;

/** What is asked, and how often. */
export interface HealthConfig {
  /** Path that answers 2xx while the upstream can serve. */
  readonly path: string;
  readonly everyMs: number;
}

/** Settings of {@link watchHealth}. */
export interface HealthWatch extends HealthConfig {
  /** The addresses as they are now. */
  endpoints(): Promise<readonly Endpoint[]>;
  readonly clock: Clock;
  /** A number from 0 to 1: rounds differ by a tenth, so that many gateways do not ask at once. */
  readonly random: () => number;
  readonly signal: AbortSignal;
  checked(passed: boolean): void;
}

/** Checks round by round until the signal aborts. */
export async function watchHealth(watch: HealthWatch): Promise<void> {
  const { path, everyMs, clock, random, signal } = watch;
  const timeoutMs = Math.min(everyMs, CHECK_TIMEOUT_MS);
  while (!signal.aborted) {
    const endpoints = await watch.endpoints();
    await Promise.all(
      endpoints.map(async (endpoint) => {
        const passed = await check(endpoint, path, timeoutMs, clock, signal);
        if (passed === undefined) return;
        endpoint.noteCheck(passed);
        watch.checked(passed);
      }),
    );
    await clock.sleep(everyMs * (0.9 + random() / 5), signal).catch(() => {});
  }
}

/** Whether an address answers 2xx in time; undefined when the check was given up or the gateway has no identity. */
async function check(
  endpoint: Endpoint,
  path: string,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  let request: ReturnType<Endpoint["send"]>;
  try {
    const { authority } = endpoint.target;
    request = endpoint.send({ method: "GET", target: path, fields: [["host", authority]] });
  } catch {
    return undefined;
  }
  const stop = new AbortController();
  const leave = () => stop.abort();
  signal.addEventListener("abort", leave, { once: true });
  try {
    return await new Promise<boolean>((resolve) => {
      clock.sleep(timeoutMs, stop.signal).then(
        () => resolve(false),
        () => resolve(false),
      );
      request.on("error", () => resolve(false));
      request.once("upgrade", (_, socket) => {
        socket.destroy();
        resolve(false);
      });
      request.once("response", (response) => {
        const { statusCode = 0 } = response;
        let bytes = 0;
        response.on("error", () => resolve(false));
        response.on("close", () => resolve(false));
        response.on("data", (chunk: Uint8Array) => {
          bytes += chunk.byteLength;
          if (bytes > MAX_BODY_BYTES) resolve(false);
        });
        response.on("end", () => resolve(statusCode >= 200 && statusCode < 300));
      });
      request.end();
    }).then((passed) => {
      if (!passed) request.destroy();
      return signal.aborted ? undefined : passed;
    });
  } finally {
    signal.removeEventListener("abort", leave);
    stop.abort();
  }
}
