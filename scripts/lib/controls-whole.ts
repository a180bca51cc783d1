/** Controls of drains that lose nothing, and of bodies and answers that must not pass for whole, or for somebody else's. */
import { posix } from "node:path";
import type { Control } from "./controls.ts";

function control(name: string, file: string, find: string, replace: string, test: string): Control {
  return { name, patches: [{ file: posix.join("src", file), find, replace }], tests: [posix.join("src", test)] };
}

export const WHOLE_CONTROLS: readonly Control[] = [
  control("drain-end", "tls/connections.ts", '    this.#last = "end";\n', "", "tls/drain-late.test.ts"),
  control("drain-last-answer", "tls/connections.ts", "    this.#last = response;\n", "", "tls/drain-late.test.ts"),
  control("late-body", "tls/http1/pool.ts", "      if (now < from) continue;\n", "", "tls/http1/late-bytes.test.ts"),
  control(
    "late-body-of-204",
    "tls/http1/parser.ts",
    "      if (status === 204 && this.#lacksBody) this.#keeps = false;\n",
    "",
    "tls/http1/late-bytes.test.ts",
  ),
];
