/** How much a bench measures, and what it tells a measuring process. */
import type { Subject } from "./rows.ts";

/**
 * How much is measured: distinct inputs, samples, Workload API calls, fresh processes, proxied requests, new and idle
 * connections (`rounds` fresh servers for the idle ones, each left alone for `settleMs`), requests of a kept connection,
 * and of one beside hostile callers.
 */
export interface Sizes {
  inputs: number;
  samples: number;
  warmup: number;
  calls: number;
  coldStarts: number;
  requests: number;
  handshakes: number;
  idle: number;
  rounds: number;
  settleMs: number;
  fetches: number;
  neighbour: number;
}

export const FULL: Sizes = {
  inputs: 1_000,
  samples: 2_000,
  warmup: 200,
  calls: 300,
  coldStarts: 20,
  requests: 30_000,
  handshakes: 10_000,
  idle: 4_000,
  rounds: 3,
  settleMs: 2_000,
  fetches: 3_000,
  neighbour: 10_000,
};
export const QUICK: Sizes = {
  inputs: 100,
  samples: 100,
  warmup: 20,
  calls: 30,
  coldStarts: 2,
  requests: 600,
  handshakes: 400,
  idle: 1_000,
  rounds: 1,
  settleMs: 200,
  fetches: 200,
  neighbour: 200,
};

/** What a measuring process is told. */
export interface Job {
  subjects: Subject[];
  /** Path of the prepared inputs. */
  fixtures: string;
  /** Measurements per row of computing subjects. */
  samples: number;
  warmup: number;
  /** Measurements per row of the Workload API. */
  calls: number;
  out: string;
}
