/** Controls that the tests of attack cases notice. */
import type { Control } from "./controls.ts";

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
];
