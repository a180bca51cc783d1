/** Controls of drains that lose nothing, and of bodies and answers that must not pass for whole, or for somebody else's. */
import { type Control, controlsIn } from "./control-row.ts";

const control = controlsIn("src");

export const WHOLE_CONTROLS: readonly Control[] = [
  control("drain-end", "tls/connections.ts", '    this.#last = "end";\n', "", "tls/drain-late.test.ts"),
  {
    ...control("drain-last-answer", "tls/connections.ts", "    this.#last = response;\n", "", "tls/drain-late.test.ts"),
    // elsewhere a request that comes behind another is not heard of before that is answered
    runtimes: ["node"],
  },
  control("drain-last-of-several", "tls/connections.ts", "].at(-1);", "].at(0);", "tls/drain-late.test.ts"),
  control("late-body", "tls/http1/pool.ts", "      if (now < from) continue;\n", "", "tls/http1/late-bytes.test.ts"),
  control(
    "late-body-of-204",
    "tls/http1/parser.ts",
    "      if (status === 204 && this.#lacksBody) this.#keeps = false;\n",
    "",
    "tls/http1/late-bytes.test.ts",
  ),
  control(
    "http2-own-end",
    "tls/whole-stream.ts",
    "    if (!isUnderWay()) return close.call",
    "    if (!isUnderWay() || true) return close.call",
    "tls/whole-stream.test.ts",
    "gateway/cut-bodies.test.ts",
  ),
  control(
    "http2-peers-end",
    "tls/whole-stream.ts",
    "    if (closesFirst ? !stream.closed : stream.state?.state === HALF_CLOSED_REMOTE) return end();",
    "    if (chunk === null) return end();",
    "tls/whole-stream.test.ts",
    "gateway/http2-resets.test.ts",
  ),
  control("http2-callers-end", "tls/entries.ts", "      takeWhole(stream);\n", "", "tls/whole-request.test.ts"),
  control(
    "http2-callers-request",
    "tls/entries.ts",
    "    if (request.httpVersionMajor === 2) takeWholeRequest(request as Http2ServerRequest);\n",
    "",
    "tls/whole-request.test.ts",
  ),
];
