/** The block `limits`. */
import type { Path, Reader } from "./config-reader.ts";
import type { GatewayConfig } from "./config-types.ts";
import { readRateStore } from "./rates/config-store.ts";
import type { RatesConfig } from "./rates/rates.ts";

const PATH: Path = ["limits", "perIdentity"];
const MAX = 1_000_000;

function readRate(read: Reader, value: unknown): RatesConfig | undefined {
  if (value === undefined) return undefined;
  const expected = "perIdentity: { rate: 50/s, burst: 100 }";
  const { rate, burst, store: place } = read.object(value, PATH, ["rate", "burst", "store"]);
  const store = readRateStore(read, place, [...PATH, "store"]);
  if (rate === undefined) {
    read.report(PATH, 'needs "rate"', "without one there is no limit", expected);
    return undefined;
  }
  const [, count, unit] = (typeof rate === "string" ? /^([1-9][0-9]{0,6})\/(s|m|h)$/.exec(rate) : null) ?? [];
  const perSecond = Number(count) / ({ s: 1, m: 60, h: 3_600 }[unit as "s" | "m" | "h"] ?? Number.NaN);
  if (!(perSecond <= MAX)) {
    const what = `${JSON.stringify(rate)} is no rate`;
    read.report([...PATH, "rate"], what, undefined, "requests per s, m or h, such as 50/s");
  }
  const most = burst === undefined ? Math.max(1, Math.ceil(perSecond)) : burst;
  if (!Number.isInteger(most) || (most as number) < 1 || (most as number) > MAX) {
    const what = `${JSON.stringify(burst)} is no number of requests`;
    read.report(
      [...PATH, "burst"],
      what,
      "with less than one, nobody would be served",
      `a whole number from 1 to ${MAX}`,
    );
  }
  return { rate: perSecond, burst: most as number, ...(store === undefined ? {} : { store }) };
}

/** Reads `limits`. */
export function readLimits(read: Reader, value: unknown): GatewayConfig["limits"] {
  const limits = read.object(value, ["limits"], ["connections", "handshake", "headers", "body", "idle", "perIdentity"]);
  const perIdentity = readRate(read, limits.perIdentity);
  return {
    connections: read.count(limits.connections, ["limits", "connections"], 10_000, 1_000_000),
    headerBytes: read.size(limits.headers, ["limits", "headers"], 32_768, { min: 1_024, max: 1_048_576 }),
    handshakeMs: read.duration(limits.handshake, ["limits", "handshake"], 5_000, 10_000),
    bodyBytes: read.size(limits.body, ["limits", "body"], 10_485_760),
    idleMs: read.duration(limits.idle, ["limits", "idle"], 60_000),
    ...(perIdentity === undefined ? {} : { perIdentity }),
  };
}
