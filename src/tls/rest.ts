/** Waiting in the background: what waits so never keeps a process alive that has nothing else to do. */
import { setTimeout } from "node:timers";
import { type Clock, systemClock } from "../base/clock.ts";

/** Like the clock's `sleep`, rejecting where that throws; with the machine's own clock the timer holds no process. */
export async function rest(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (clock !== systemClock) return clock.sleep(ms, signal);
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    timer.unref();
    signal.addEventListener("abort", onAbort, { once: true });
  });
}
