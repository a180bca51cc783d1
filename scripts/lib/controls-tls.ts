/** Controls of TLS that others stand before or behind: each is the only one in what its test brings about. */
import { type Control, controlsIn } from "./control-row.ts";
import { withoutSecondLook } from "./controls-dial.ts";

const inTls = controlsIn("src/tls");
const inGateway = controlsIn("src/gateway");

export const TLS_CONTROLS: readonly Control[] = [
  inTls(
    "tls-end-of-own-chain",
    "own-identity.ts",
    ", ...svid.certificates.map(({ notAfter }) => notAfter.getTime())",
    "",
    "own-identity.test.ts",
  ),
  {
    ...inTls("tls-resumed", "judge.ts", "if (unexpectedlyResumed(socket)) {", "if (false) {", "judge.test.ts"),
    runtimes: ["bun", "node"],
  },
  inTls(
    "tls-shown-certificate-ended",
    "listener.ts",
    "if (!(timeOf(this.#clock) < own.endsAt)) return refuse",
    "if (false) return refuse",
    "rotation.test.ts",
  ),
  inTls(
    "tls-session-protocol",
    "peer-sessions.ts",
    'if (socket.alpnProtocol !== "h2" || socket.destroyed) {',
    "if (socket.destroyed) {",
    "dial-race.test.ts",
  ),
  {
    ...inTls("tls-agent-drains", "peer-agent.ts", "!drains && isCurrent()", "isCurrent()", "peer-agent.test.ts"),
    runtimes: ["bun", "node"],
  },
  inTls(
    "tls-session-drains",
    "peer-sessions.ts",
    "      onDrain: () => void session?.close(),\n",
    "",
    "connect-rpc.test.ts",
  ),
  inTls(
    "tls-kept-of-another-bundle",
    "kept-connections.ts",
    "    if (!this.isCurrent) this.retire();\n",
    "",
    "kept-connections.test.ts",
  ),
  inTls(
    "tls-entry-stream",
    "entries.ts",
    "const verdict = connectionPeer({ stream });\n    if (verdict?.accepted === true) {",
    "const verdict = connectionPeer({ stream }) ?? { accepted: true };\n    if (true) {",
    "entries.test.ts",
  ),
  inTls(
    "tls-head-of-upgrade",
    "entries.ts",
    "    if (!fits(request)) return void socket.destroy();\n",
    "",
    "entries.test.ts",
  ),
  inGateway(
    "gateway-upstream-protocol",
    "upstream/endpoint.ts",
    'if (protocol === "h2" && socket.alpnProtocol !== "h2") {',
    "if (false) {",
    "http2-upstream.test.ts",
  ),
  inGateway(
    "gateway-upstream-current",
    "upstream/endpoint.ts",
    "isCurrent(kept.snapshot, identity, clock)",
    "true",
    "proxy-stream.test.ts",
  ),
  inGateway(
    "gateway-upstream-trust-lost",
    "upstream/endpoint.ts",
    "if (bundle === undefined || bundle.isEmpty) this.close();",
    "if (false) this.close();",
    "upstream/endpoint.test.ts",
  ),
  inGateway("gateway-upstream-drains", "upstream/endpoint.ts", "      onDrain,\n", "", "upstream/endpoint.test.ts"),
  {
    name: "gateway-ended-while-dialled",
    patches: [
      { file: "src/tls/http1/pool.ts", find: "        if (this.#closed) connection.destroy();\n", replace: "" },
    ],
    tests: ["src/gateway/upstream/endpoint.test.ts"],
  },
  ...(
    [
      ["upstream", "upstream/endpoint.ts"],
      ["bytes", "tcp/byte-endpoint.ts"],
    ] as const
  ).map(([way, file]) => {
    const call = "await connectVouched(identity, {";
    return withoutSecondLook(inGateway(`gateway-${way}-rejudged`, file, call, "", "upstream/dial-race.test.ts"));
  }),
  inGateway(
    "tcp-cut-while-dialled",
    "tcp/byte-route.ts",
    "if (gone.aborted || socket.destroyed) {",
    "if (false) {",
    "tcp/byte-route.test.ts",
  ),
  inGateway(
    "middleware-platform-tls",
    "middleware/spiffe.ts",
    ' && c.req.url.startsWith("https://")',
    "",
    "middleware/middleware.test.ts",
  ),
];
