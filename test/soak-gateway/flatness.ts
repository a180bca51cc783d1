/** Whether what a process holds stays as it is: the last third of a run beside the middle one; the first is its warm-up. */

/** What the gateway held at one moment. */
export interface Sample {
  /** Requests that were sent until then. */
  readonly requests: number;
  /** Resident bytes, garbage and all. */
  readonly rss: number;
  /** Bytes of the heap in use after a collection. */
  readonly heap: number;
  /** Open descriptors. */
  readonly files: number;
}

/** Samples that a third has at least. */
const MIN_SAMPLES = 8;
/** Bytes that one request may leave behind, by the medians; a leak of 100 is to be seen. */
const HEAP_PER_REQUEST = 64;
/** Below this growth says nothing: how medians of a heap differ without a leak. */
const HEAP_NOISE = 1_572_864;
/** What is resident follows the garbage of the moment, and pages come back late. */
const RSS_SHARE = 1.1;
const FILES_NOISE = 4;

/** The medians of a third. */
export function medians(samples: readonly Sample[]): Sample {
  const of = (key: keyof Sample) => {
    const sorted = samples.map((sample) => sample[key]).sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
  };
  return { requests: of("requests"), rss: of("rss"), heap: of("heap"), files: of("files") };
}

/** The medians of the middle and the last third. */
export function halves(samples: readonly Sample[]): { readonly middle: Sample; readonly last: Sample } {
  const third = samples.length / 3;
  return {
    middle: medians(samples.slice(Math.floor(third), Math.floor(2 * third))),
    last: medians(samples.slice(Math.floor(2 * third))),
  };
}

/** What is not flat, or why that can not be said; one sentence each. */
export function notFlat(samples: readonly Sample[]): string[] {
  if (samples.length < 3 * MIN_SAMPLES)
    return [`memory was measured ${samples.length} times, expected ${3 * MIN_SAMPLES}`];
  const { middle, last } = halves(samples);
  const requests = last.requests - middle.requests;
  const allowed = requests * HEAP_PER_REQUEST;
  const found: string[] = [];
  const grew = (what: string, from: number, to: number) =>
    found.push(`${what} grew from ${from} to ${to} over ${requests} requests`);
  if (allowed < HEAP_NOISE)
    found.push(`${requests} requests between the medians are too few to tell a leak from noise`);
  else if (!(last.heap - middle.heap <= allowed)) grew("the heap", middle.heap, last.heap);
  if (!(last.rss <= middle.rss * RSS_SHARE)) grew("resident memory", middle.rss, last.rss);
  if (!(last.files <= middle.files + FILES_NOISE)) grew("descriptors", middle.files, last.files);
  return found;
}
