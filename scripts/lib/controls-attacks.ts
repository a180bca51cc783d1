/** Controls that the tests of attack cases notice. */
import type { Control } from "./control-row.ts";

export const ATTACK_CONTROLS: readonly Control[] = [
  {
    name: "gateway-continue-last",
    patches: [{ file: "src/gateway/gateway.ts", find: "      onExpect: handler,\n", replace: "" }],
    tests: ["src/gateway/attacks-entries.test.ts"],
  },
  {
    name: "app-asked-when-read",
    patches: [
      {
        file: "src/tls/ask-when-read.ts",
        find: "  const read = incoming._read;\n",
        replace: "  response.writeContinue();\n  const read = incoming._read;\n",
      },
    ],
    tests: ["src/gateway/serve-expect.test.ts", "src/tls/expect.test.ts"],
  },
  {
    name: "gateway-connect-reason",
    patches: [
      {
        file: "src/gateway/gateway.ts",
        find: "      onConnect: { http1: upgradeHandler(room), http2: handler },\n",
        replace: "",
      },
    ],
    tests: ["src/gateway/attacks-entries.test.ts"],
  },
  {
    name: "gateway-expectation",
    patches: [{ file: "src/gateway/judge.ts", find: "if (unmet !== undefined) return unmet;", replace: "" }],
    tests: ["src/gateway/attacks-entries.test.ts"],
  },
  {
    name: "gateway-anonymous-bad-token",
    patches: [
      {
        file: "src/gateway/judge.ts",
        find: "!(nobody && room.policy.namesAnonymous)",
        replace: "!room.policy.namesAnonymous",
      },
    ],
    tests: ["src/gateway/policy.test.ts"],
  },
  {
    name: "middleware-refused-connection",
    patches: [
      {
        file: "src/gateway/middleware/spiffe.ts",
        find: "if (verdict !== undefined) throw",
        replace: "if (false) throw",
      },
    ],
    tests: ["src/gateway/middleware/middleware.test.ts"],
  },
  {
    name: "middleware-assumed-token",
    patches: [
      {
        file: "src/gateway/middleware/spiffe.ts",
        find: 'if (assumed?.via === "jwt" && incoming === undefined)',
        replace: 'if (assumed?.via === "jwt")',
      },
    ],
    tests: ["src/gateway/middleware/middleware.test.ts"],
  },
  {
    name: "middleware-bearer-behind-blanks",
    patches: [{ file: "src/gateway/middleware/authenticate.ts", find: "/^[ \\t]*bearer(?!", replace: "/^bearer(?!" }],
    tests: ["src/gateway/middleware/middleware.test.ts"],
  },
  {
    name: "token-plaintext-reset",
    patches: [
      {
        file: "src/gateway/middleware/spiffe.ts",
        find: "return socket.localAddress === undefined && socket.destroyed === false;",
        replace: "return socket.destroyed === false;",
      },
    ],
    tests: ["src/gateway/middleware/middleware.test.ts"],
  },
  {
    name: "tls-throttle-resets",
    patches: [
      {
        file: "src/tls/connection-gate.ts",
        find: "?? (isLost ? { address, port } : undefined)",
        replace: "",
      },
    ],
    tests: ["src/tls/reset-peers.test.ts"],
    // elsewhere the address of a socket that was reset is still told, or no test can send a reset
    runtimes: ["node"],
  },
  {
    name: "tls-handshakes-by-caller",
    patches: [
      {
        file: "src/tls/handshakes.ts",
        find: "    const caller = callerAt(address);",
        replace: "    const caller = address;",
      },
    ],
    tests: ["src/tls/handshakes.test.ts"],
  },
  {
    name: "tls-handshakes-behind-proxies",
    patches: [
      {
        file: "src/tls/connection-gate.ts",
        find: "      this.#handshakes.move(socket, source.address);\n",
        replace: "",
      },
    ],
    tests: ["src/tls/handshakes.test.ts"],
  },
  {
    name: "policy-proxy-headers",
    patches: [
      {
        file: "src/policy/conditions.ts",
        find: "NOT_FOR_RULES.get(plain) ?? claim;",
        replace: "NOT_FOR_RULES.get(plain);",
      },
    ],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "gateway-bytes-rejudged-at-once",
    patches: [
      {
        file: "src/gateway/gateway.ts",
        find: "const judged = [this.#running.rejudge(room, asks), this.#bytes?.rejudge(asks)] as const;",
        replace: "const judged = [await this.#running.rejudge(room, asks), await this.#bytes?.rejudge(asks)] as const;",
      },
    ],
    tests: ["src/gateway/rejudge.test.ts"],
  },
  {
    name: "gateway-rule-times",
    patches: [{ file: "src/gateway/gateway.ts", find: "() => this.#ruleTimeCame()", replace: "async () => {}" }],
    tests: ["src/gateway/rule-times.test.ts"],
  },
  {
    name: "gateway-rule-times-overtaken",
    patches: [
      {
        file: "src/gateway/gateway.ts",
        find: "      const next = new Live(live.config, grounds, live);\n      this.#live = next;\n",
        replace: "      const next = live;\n",
      },
    ],
    tests: ["src/gateway/rule-times.test.ts"],
  },
  {
    name: "gateway-rule-times-unconfirmed",
    patches: [
      {
        file: "src/gateway/gateway.ts",
        find: "await this.#rejudge(next, this.#asking > 0);",
        replace: "await this.#rejudge(next, false);",
      },
    ],
    tests: ["src/gateway/rule-times.test.ts"],
  },
  {
    name: "gateway-framing-spellings",
    patches: [
      {
        file: "src/gateway/headers.ts",
        find: 'HOP_BY_HOP.has(plain) || (plain === "content-length" && lower !== plain);',
        replace: "HOP_BY_HOP.has(lower);",
      },
    ],
    tests: ["src/gateway/headers.test.ts"],
  },
  {
    name: "tls-resets-without-error",
    patches: [
      { file: "src/tls/entries.ts", find: "stream.rstCode !== 0 || stream.aborted", replace: "stream.rstCode !== 0" },
    ],
    tests: ["src/tls/stream-resets.test.ts"],
  },
  {
    name: "gateway-left-callers",
    patches: [{ file: "src/gateway/handler.ts", find: "if (gone) return {", replace: "if (false) return {" }],
    tests: ["src/gateway/left-callers.test.ts"],
  },
  {
    name: "gateway-end-behind-write",
    patches: [{ file: "src/gateway/answer.ts", find: "if (waits) setTimeout", replace: "if (false) setTimeout" }],
    tests: ["src/gateway/left-callers.test.ts"],
    // elsewhere the end of an answer is heard of
    runtimes: ["deno"],
  },
];
