/** Counts of what happens with every request: kept by name at the least cost, and handed to the registry at a scrape. */
import type { Counter, Metric, Registry } from "prom-client";

/** How often the values that lead here were counted, and where one more value leads. */
class Place {
  readonly next = new Map<string, Place>();
  count = 0;

  under(value: string): Place {
    let place = this.next.get(value);
    if (place === undefined) this.next.set(value, (place = new Place()));
    return place;
  }
}

/** A counter with two to five labels. */
export class Tally<T extends string> {
  readonly #counter: Counter<T>;
  readonly #names: readonly T[];
  readonly #counts = new Place();
  /** What was counted at all, in the order in which it first was. */
  readonly #counted: { readonly labels: Record<T, string>; readonly place: Place }[] = [];

  /** @param names of the labels, in the order of the values */
  constructor(counter: Counter<T>, names: readonly T[]) {
    this.#counter = counter;
    this.#names = names;
  }

  /** Counts one; the values by themselves, as a list or a text of all would cost more than the counting. */
  add(first: string, second: string, third?: string, fourth?: string, fifth?: string): void {
    let place = this.#counts.under(first).under(second);
    if (third !== undefined) place = place.under(third);
    if (fourth !== undefined) place = place.under(fourth);
    if (fifth !== undefined) place = place.under(fifth);
    if (place.count++ > 0) return;
    const values = [first, second, third, fourth, fifth];
    const labels = Object.fromEntries(this.#names.map((name, i) => [name, values[i]])) as Record<T, string>;
    this.#counted.push({ labels, place });
  }

  /** Brings the counter to what has been counted. */
  tell(): void {
    this.#counter.reset();
    for (const { labels, place } of this.#counted) this.#counter.inc(labels, place.count);
  }
}

/** Times of one label's value: how many up to each bound and not to the one before, and their sum. */
interface Times {
  readonly within: number[];
  sum: number;
  count: number;
}

/** A line of an exposition. */
interface Row {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** A histogram with one label, read by a registry. */
export class Durations {
  readonly #label: string;
  readonly #bounds: readonly number[];
  readonly #times = new Map<string, Times>();

  /** @param bounds seconds, ascending */
  constructor(registry: Registry, name: string, help: string, label: string, bounds: readonly number[]) {
    this.#label = label;
    this.#bounds = bounds;
    const get = async () => ({ name, help, type: "histogram", aggregator: "sum", values: this.#values(name) });
    // what a registry reads of a metric; the library's own class takes a time at a time
    registry.registerMetric({ name, get } as unknown as Metric);
  }

  add(value: string, seconds: number): void {
    let times = this.#times.get(value);
    if (times === undefined) {
      times = { within: this.#bounds.map(() => 0), sum: 0, count: 0 };
      this.#times.set(value, times);
    }
    times.sum += seconds;
    times.count++;
    for (let i = 0; i < this.#bounds.length; i++) {
      if (seconds > (this.#bounds[i] as number)) continue;
      times.within[i] = (times.within[i] as number) + 1;
      return;
    }
  }

  /** The rows: of each bound what is at or below it, then all, their sum and their number. */
  #values(name: string): Row[] {
    return [...this.#times].flatMap(([value, { within, sum, count }]) => {
      const labels = { [this.#label]: value };
      let below = 0;
      const rows = this.#bounds.map((le, i) => {
        below += within[i] as number;
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below };
      });
      return [
        ...rows,
        { metricName: `${name}_bucket`, labels: { le: "+Inf", ...labels }, value: count },
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: count },
      ];
    });
  }
}
