/** Controls of what carries bytes, and of the PROXY header before TLS. */
import type { Control } from "./control-row.ts";

export const TCP_CONTROLS: readonly Control[] = [
  {
    name: "tcp-policy",
    patches: [
      {
        file: "src/gateway/tcp/byte-route.ts",
        find: 'return decision.verdict === "allow";',
        replace: "return true;",
      },
    ],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-judged-anew",
    patches: [
      {
        file: "src/gateway/tcp/byte-route.ts",
        find: "!isInForce(rules, room.rules())",
        replace: "false",
      },
    ],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-authorizer-again",
    patches: [
      {
        file: "src/gateway/tcp/rejudge-bytes.ts",
        find: "await confirmAll(allowed, {",
        replace: "await confirmAll<Allowed>([], {",
      },
    ],
    tests: ["src/gateway/tcp/rejudge-bytes.test.ts"],
  },
  {
    name: "tcp-authorizer-overtaken",
    patches: [
      {
        file: "src/gateway/tcp/rejudge-bytes.ts",
        find: "=> !isInForce(rules, room.rules());",
        replace: "=> rules === undefined;",
      },
    ],
    tests: ["src/gateway/tcp/rejudge-bytes.test.ts"],
  },
  {
    name: "tcp-connections-per-identity",
    patches: [{ file: "src/gateway/tcp/byte-route.ts", find: "if (count >= most) return false;", replace: "" }],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-pinned-peer",
    patches: [
      {
        file: "src/gateway/tcp/byte-endpoint.ts",
        find: "        peer: id,\n",
        replace: "        peer: { trustDomain: id.trustDomain.name },\n",
      },
    ],
    tests: ["src/gateway/tcp/egress.test.ts"],
  },
  {
    name: "tcp-end-of-own-identity",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "    const lost = lossOf(ground);",
        replace: "    const lost: Refusal | undefined = undefined;",
      },
    ],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-end-of-authority",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "      trust.changed = bundle !== trust.bundle;",
        replace: "      trust.changed = false;",
      },
    ],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-end-of-certificates",
    patches: [
      {
        file: "src/tls/lifetime.ts",
        find: "    if (!(now < this.#peerEnd)) return",
        replace: "    if (false) return",
      },
    ],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-end-of-both-sides",
    patches: [
      {
        file: "src/gateway/tcp/splice.ts",
        find: '    watch(upstream, outwards, inwards, "upstream-aborted");\n',
        replace: "",
      },
    ],
    tests: ["src/gateway/tcp/byte-route.test.ts"],
  },
  {
    name: "tcp-unhealthy-upstream",
    patches: [
      {
        file: "src/gateway/upstream/addresses.ts",
        find: "turned.filter((endpoint) => endpoint.healthy)",
        replace: "turned",
      },
    ],
    tests: ["src/gateway/tcp/byte-upstream.test.ts"],
  },
  {
    name: "tcp-egress-loopback",
    patches: [
      {
        file: "src/gateway/config-tcp.ts",
        find: "  if (isLoopback(address)) return { address, port };",
        replace: "  if (true) return { address, port };",
      },
    ],
    tests: ["src/gateway/config-tcp.test.ts"],
  },
  {
    name: "tcp-egress-bound",
    patches: [
      {
        file: "src/gateway/tcp/egress.ts",
        find: "      if (!isLoopback(bound.address)) {",
        replace: "      if (false) {",
      },
    ],
    tests: ["src/gateway/tcp/egress.test.ts"],
  },
  {
    name: "tcp-egress-passed-socket",
    patches: [
      {
        file: "src/gateway/tcp/egress.ts",
        find: 'if (!bound.address.startsWith("/") && !isLoopback(bound.address)) {',
        replace: "if (false) {",
      },
    ],
    tests: ["test/listen-fds.test.ts"],
  },
  {
    name: "tcp-egress-folder",
    patches: [
      {
        file: "src/tls/socket-file.ts",
        find: "if (foreign || ((around.mode & 0o022) !== 0 && (around.mode & 0o1000) === 0)) {",
        replace: "if (foreign) {",
      },
    ],
    tests: ["src/gateway/tcp/egress.test.ts"],
  },
  {
    name: "tcp-live-socket",
    patches: [
      { file: "src/tls/socket-file.ts", find: "  await refuseLive(socket, refused);\n", replace: "" },
      { file: "src/tls/socket-file.ts", find: "    await refuseLive(aside, refused);\n", replace: "" },
    ],
    tests: ["src/gateway/tcp/egress.test.ts"],
  },
  {
    name: "proxy-local-check",
    patches: [
      { file: "src/gateway/tcp/byte-upstream.ts", find: "if (this.proxyHeader) leave", replace: "if (false) leave" },
    ],
    tests: ["src/gateway/tcp/byte-upstream.test.ts"],
  },
  {
    name: "proxy-list",
    patches: [
      {
        file: "src/tls/proxy-gate.ts",
        find: "    if (address === undefined) return false;",
        replace: "    if (address !== undefined) return true;",
      },
    ],
    tests: ["src/tls/proxy-gate.test.ts"],
  },
  {
    name: "tls-handshake-from-connection",
    patches: [{ file: "src/tls/connection-gate.ts", find: "    this.#deadlines.add(socket);\n", replace: "" }],
    tests: ["src/tls/handshake-deadlines.test.ts"],
  },
  {
    name: "proxy-header-required",
    patches: [
      {
        file: "src/tls/connection-gate.ts",
        find: "      this.#shut(socket);\n      return report(header, remoteAddress, remotePort, true);",
        replace: "      return begin(socket);",
      },
    ],
    tests: ["src/tls/proxy-gate.test.ts"],
  },
  {
    name: "proxy-throttle-address",
    patches: [
      {
        file: "src/tls/listener.ts",
        find: "if (caller !== undefined) tellAddress(socket, caller);",
        replace: "",
      },
    ],
    tests: ["src/tls/proxy-gate.test.ts"],
  },
  {
    name: "listen-fds-pid",
    patches: [
      {
        file: "src/runtime/passed-sockets.ts",
        find: "if (forPid !== String(pid)) return found;",
        replace: "",
      },
    ],
    tests: ["src/runtime/passed-sockets.test.ts"],
  },
];
