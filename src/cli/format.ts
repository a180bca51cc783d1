/** How the commands print numbers: milliseconds, durations, percentiles. */

/** Milliseconds with one decimal, below a tenth with two: `3.1 ms`, `0.04 ms`. */
export function ms(value: number): string {
  return `${msNumber(value)} ms`;
}

/** {@link ms} without its unit. */
export function msNumber(value: number): string {
  return value >= 0.1 ? value.toFixed(1) : value.toFixed(2);
}

/** A duration in words, at most two units: `2 min 30 s`, `1 h`, `45 s`. Negative counts as zero. */
export function duration(milliseconds: number): string {
  let seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts: string[] = [];
  for (const [name, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["min", 60],
    ["s", 1],
  ] as const) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
    else if (parts.length > 0) break;
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}

/** The value below which the share `q` (0 to 1) of the samples lies, by nearest rank. */
export function percentile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN;
}
