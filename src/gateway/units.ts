/** Durations and sizes as they are written in configuration: a whole number and a unit. */
import { MAX_TIMER_MS } from "../base/index.ts";

const DURATIONS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };
const SIZES: Readonly<Record<string, number>> = { B: 1, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824 };

function parse(text: string, units: Readonly<Record<string, number>>, max: number): number | undefined {
  const match = /^([1-9][0-9]{0,11})([A-Za-z]+)$/.exec(text);
  const unit = match === null || !Object.hasOwn(units, match[2] as string) ? undefined : units[match[2] as string];
  if (match === null || unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  return value <= max ? value : undefined;
}

/** Milliseconds of `500ms`, `30s`, `5m` or `1h`; undefined for anything else, for zero and for more than a timer takes. */
export function parseDuration(text: string): number | undefined {
  return parse(text, DURATIONS, MAX_TIMER_MS);
}

/** Bytes of `512B`, `32KiB`, `10MiB` or `1GiB`; undefined for anything else, for zero and for more than is exact. */
export function parseSize(text: string): number | undefined {
  return parse(text, SIZES, Number.MAX_SAFE_INTEGER);
}
