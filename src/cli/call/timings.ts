/** How long each part of a call takes. */
import { ms } from "../format.ts";

type Step = "lookup" | "tcp" | "handshake" | "verdict" | "head" | "end";

/** A stopwatch with named marks. */
export class Timings {
  readonly #start = performance.now();
  readonly #marks = new Map<Step, number>();

  /** Notes that a step is over. */
  mark(step: Step): void {
    this.#marks.set(step, performance.now());
  }

  /** One line; a part that there was none of, such as the lookup of an address, is left out. */
  toString(): string {
    const parts: [name: string, from: Step | undefined, to: Step][] = [
      ["dns", undefined, "lookup"],
      ["tcp", "lookup", "tcp"],
      ["handshake", "tcp", "handshake"],
      ["verification", "handshake", "verdict"],
      ["first byte", "verdict", "head"],
      ["body", "head", "end"],
    ];
    const at = (step: Step | undefined) => (step === undefined ? undefined : this.#marks.get(step)) ?? this.#start;
    const told = parts.flatMap(([name, from, to]) => {
      return this.#marks.has(to) ? [`${name} ${ms(at(to) - at(from))}`] : [];
    });
    return [...told, `total ${ms(at("end") - this.#start)}`].join(", ");
  }
}
