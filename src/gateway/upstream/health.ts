/** Active health: every address of an upstream is asked from time to time; for HTTP over the connection that requests take. */
import type { Clock } from "../../base/index.ts";
import type { UpstreamCall } from "../../tls/http1/call.ts";
import type { Field } from "../headers.ts";
import type { Endpoint } from "./endpoint.ts";
import type { Standing } from "./standing.ts";

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

/** Whether an address can serve; undefined when the check was given up, or the gateway has no identity to ask with. */
export type HealthCheck<E> = (endpoint: E, timeoutMs: number, signal: AbortSignal) => Promise<boolean | undefined>;

/** Settings of {@link watchHealth}. */
export interface HealthWatch<E extends Standing> {
  readonly everyMs: number;
  readonly check: HealthCheck<E>;
  /** The addresses as they are now. */
  endpoints(): Promise<readonly E[]>;
  readonly clock: Clock;
  /** A number from 0 to 1: rounds differ by a tenth, so that many gateways do not ask at once. */
  readonly random: () => number;
  readonly signal: AbortSignal;
  checked(passed: boolean): void;
}

/** Checks round by round until the signal aborts. */
export async function watchHealth<E extends Standing>(watch: HealthWatch<E>): Promise<void> {
  const { check, everyMs, clock, random, signal } = watch;
  const timeoutMs = Math.min(everyMs, CHECK_TIMEOUT_MS);
  while (!signal.aborted) {
    const endpoints = await watch.endpoints();
    await Promise.all(
      endpoints.map(async (endpoint) => {
        const passed = await check(endpoint, timeoutMs, signal);
        if (passed === undefined) return;
        endpoint.noteCheck(passed);
        watch.checked(passed);
      }),
    );
    await clock.sleep(everyMs * (0.9 + random() / 5), signal).catch(() => {});
  }
}

/** The check that an address answers a GET of a path with 2xx in time. */
export const answersAt =
  (path: string, clock: Clock): HealthCheck<Endpoint> =>
  (endpoint, timeoutMs, signal) =>
    ask(endpoint, path, timeoutMs, clock, signal);

async function ask(
  endpoint: Endpoint,
  path: string,
  timeoutMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<boolean | undefined> {
  const stop = new AbortController();
  const leave = () => stop.abort();
  signal.addEventListener("abort", leave, { once: true });
  let call: UpstreamCall | undefined;
  try {
    return await new Promise<boolean>((resolve, reject) => {
      const failed = () => resolve(false);
      let answer = 0;
      let bytes = 0;
      clock.sleep(timeoutMs, stop.signal).then(failed, failed);
      const fields: readonly Field[] = [["host", endpoint.target.authority]];
      try {
        call = endpoint.begin(
          { method: "GET", target: path, fields, withBody: false },
          {
            connected() {},
            drained() {},
            unwanted() {},
            head: (_call, status) => {
              answer = status;
            },
            data: (_call, chunk) => {
              bytes += chunk.byteLength;
              if (bytes > MAX_BODY_BYTES) failed();
            },
            ended: () => resolve(answer >= 200 && answer < 300),
            failed,
          },
        );
      } catch (error) {
        reject(error);
      }
    }).then((passed) => {
      if (!passed) call?.destroy();
      return signal.aborted ? undefined : passed;
    });
  } catch {
    return undefined;
  } finally {
    signal.removeEventListener("abort", leave);
    stop.abort();
  }
}
