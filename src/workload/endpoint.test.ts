import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Random } from "../../test/soak/random.ts";
import { SpiffeError } from "../base/errors.ts";
import { type Endpoint, endpointFromEnvironment, formatEndpoint, parseEndpoint } from "./endpoint.ts";

const unix = (path: string): Endpoint => ({ kind: "unix", path });
const tcp = (host: string, port: number): Endpoint => ({ kind: "tcp", host, port });

/** Refused value, the accepted form its error has to print, and what that form means. */
const REFUSED: [id: string, value: string, corrected: string, means: Endpoint][] = [
  ["WE-09", "/run/api.sock", "unix:///run/api.sock", unix("/run/api.sock")],
  ["WE-09", "/run/a%20b?#c/api.sock", "unix:///run/a%2520b%3F%23c/api.sock", unix("/run/a%20b?#c/api.sock")],
  ["WE-09", "http://127.0.0.1:1", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-09", "npipe:pipe", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-09", "://x", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  [
    "WE-09",
    " unix:///run/api.sock",
    "unix:///run/spire/agent/public/api.sock",
    unix("/run/spire/agent/public/api.sock"),
  ],
  ["WE-10", "unix:rel/api.sock", "unix:///rel/api.sock", unix("/rel/api.sock")],
  ["WE-10", "unix:", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-10", "unix://", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-10", "unix://run/api.sock", "unix:///run/api.sock", unix("/run/api.sock")],
  ["WE-10", "unix://user@/run/api.sock", "unix:///user@/run/api.sock", unix("/user@/run/api.sock")],
  ["WE-10", "unix:///run/api.sock?x=1", "unix:///run/api.sock", unix("/run/api.sock")],
  ["WE-10", "unix:///run/api.sock?", "unix:///run/api.sock", unix("/run/api.sock")],
  ["WE-10", "unix:///run/api.sock#f", "unix:///run/api.sock", unix("/run/api.sock")],
  ["WE-09", "unix:///run/my dir/api.sock", "unix:///run/my%20dir/api.sock", unix("/run/my dir/api.sock")],
  ["WE-09", "unix:///run/ü/api.sock", "unix:///run/%C3%BC/api.sock", unix("/run/ü/api.sock")],
  ["WE-09", "unix:///run/a%00b", "unix:///run/ab", unix("/run/ab")],
  ["WE-10", "unix://run/my dir/api.sock?x", "unix:///run/my%20dir/api.sock", unix("/run/my dir/api.sock")],
  ["WE-09", "unix:///run/100%/api.sock", "unix:///run/100%25/api.sock", unix("/run/100%/api.sock")],
  ["WE-09", "unix:///run/\ud800", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-10", "unix://?x", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-11", "tcp:127.0.0.1:8081", "tcp://127.0.0.1:8081", tcp("127.0.0.1", 8081)],
  ["WE-11", "tcp://localhost:8000", "tcp://127.0.0.1:8000", tcp("127.0.0.1", 8000)],
  ["WE-11", "tcp://agent.example:8000", "tcp://127.0.0.1:8000", tcp("127.0.0.1", 8000)],
  ["WE-11", "tcp://1.2.3.4", "tcp://1.2.3.4:8081", tcp("1.2.3.4", 8081)],
  ["WE-11", "tcp://1.2.3.4:", "tcp://1.2.3.4:8081", tcp("1.2.3.4", 8081)],
  ["WE-11", "tcp://1.2.3.4:0", "tcp://1.2.3.4:8081", tcp("1.2.3.4", 8081)],
  ["WE-11", "tcp://1.2.3.4:65536", "tcp://1.2.3.4:8081", tcp("1.2.3.4", 8081)],
  ["WE-11", "tcp://1.2.3.4:080", "tcp://1.2.3.4:8081", tcp("1.2.3.4", 8081)],
  ["WE-11", "tcp://1.2.3.4:+80", "tcp://1.2.3.4:8081", tcp("1.2.3.4", 8081)],
  ["WE-11", "tcp:x//127.0.0.1:80", "tcp://127.0.0.1:8081", tcp("127.0.0.1", 8081)],
  ["WE-11", "tcp://1.2.3.4:1/", "tcp://1.2.3.4:1", tcp("1.2.3.4", 1)],
  ["WE-11", "tcp://1.2.3.4:1/p", "tcp://1.2.3.4:1", tcp("1.2.3.4", 1)],
  ["WE-11", "tcp://1.2.3.4:1?q", "tcp://1.2.3.4:1", tcp("1.2.3.4", 1)],
  ["WE-11", "tcp://u@1.2.3.4:1", "tcp://1.2.3.4:1", tcp("1.2.3.4", 1)],
  ["WE-11", "tcp://[1.2.3.4]:1", "tcp://127.0.0.1:1", tcp("127.0.0.1", 1)],
  ["WE-11", "tcp://::1:8000", "tcp://127.0.0.1:8081", tcp("127.0.0.1", 8081)],
  ["WE-11", "tcp://[fe80::1%eth0]:8000", "tcp://127.0.0.1:8000", tcp("127.0.0.1", 8000)],
];

function refusal(run: () => unknown): SpiffeError {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof SpiffeError);
    return error;
  }
  throw new assert.AssertionError({ message: "it was accepted" });
}

const STARTS = [
  "unix:",
  "unix:/",
  "unix:///",
  "UNIX:///",
  "tcp:",
  "tcp://",
  "tcp://127.0.0.1:",
  "tcp://127.0.0.1:80",
  "TCP://[::1]:",
  "",
  "/",
];
const ADDRESSES = [
  "[::1]",
  "[fe80::1%25eth0]",
  "[::ffff:1.2.3.4]",
  "[1::2::3]",
  "::1",
  "127.0.0.1",
  "256.1.1.1",
  "01.2.3.4",
];
const MARKS = [
  ..."/@?#\\:[]%\0\n\t ",
  "//",
  "..",
  "u:p@",
  "localhost",
  "%00",
  "%2F",
  "%C0%AF",
  "%ED%A0%80",
  "Expected: ",
];

/** A part of an address: what belongs there, or what no address may have. */
function piece(random: Random): string {
  switch (random.between(0, 9)) {
    case 0:
      return String.fromCharCode(random.between(0x20, 0x7e));
    case 1:
      return `%${random.between(0, 255).toString(16)}`;
    case 2:
      return String.fromCharCode(random.between(0xd800, 0xdfff));
    case 3:
      return String.fromCodePoint(random.between(0x80, 0x10_ffff));
    case 4:
      return random.pick(ADDRESSES);
    case 5:
      return `:${random.between(-1, 70_000)}`;
    case 6:
      return random.pick(MARKS);
    case 7:
      return "x".repeat(random.between(1, 120));
    case 8:
      return `${random.between(0, 70_000)}`;
    default:
      return random.pick(["run", "/run/spire", "api.sock"]);
  }
}

/** What an address means, or the form that the refusal prints. */
function parsed(value: string): Endpoint | string {
  try {
    return parseEndpoint(value);
  } catch (error) {
    assert.ok(
      error instanceof SpiffeError && error.code === "ERR_SPIFFE_ENDPOINT",
      `${JSON.stringify(value)}: ${error}`,
    );
    return error.message.slice(error.message.lastIndexOf(". Expected: ") + ". Expected: ".length);
  }
}

describe("endpoint", () => {
  for (const [id, value, corrected, means] of REFUSED) {
    it(`[${id}] refuses ${JSON.stringify(value)} and prints ${corrected}, which it accepts`, () => {
      const error = refusal(() => parseEndpoint(value));
      assert.equal(error.code, "ERR_SPIFFE_ENDPOINT");
      assert.ok(error.message.endsWith(`Expected: ${corrected}`), error.message);
      assert.deepEqual(parseEndpoint(corrected), means);
    });
  }

  for (const [value, means] of [
    ["unix:/run/api.sock", unix("/run/api.sock")],
    ["unix:///run/api.sock", unix("/run/api.sock")],
    ["UNIX:///run/api.sock", unix("/run/api.sock")],
    ["tcp://[::1]:8000", tcp("::1", 8000)],
    ["tcp://169.254.1.2:65535", tcp("169.254.1.2", 65_535)],
  ] as const) {
    it(`[WE-09] accepts ${value}`, () => {
      assert.deepEqual(parseEndpoint(value), means);
      assert.deepEqual(parseEndpoint(formatEndpoint(means)), means);
    });
  }

  it("[WE-09] [WE-10] [WE-11] prints a form of the same kind that it accepts for whatever it refuses", () => {
    const random = new Random(20_261_126);
    const seen = { unix: 0, tcp: 0, "unix refused": 0, "tcp refused": 0 };
    for (let n = 0; n < 20_000; n++) {
      const value = random.pick(STARTS) + Array.from({ length: random.between(0, 4) }, () => piece(random)).join("");
      const kind = /^tcp:/i.test(value) ? "tcp" : "unix";
      const verdict = parsed(value);
      const corrected = typeof verdict === "string" ? verdict : formatEndpoint(verdict);
      const again = parsed(corrected);
      assert.ok(typeof again !== "string", `${JSON.stringify(value)} → ${corrected}`);
      assert.equal(again.kind, kind, `${JSON.stringify(value)} → ${corrected}`);
      assert.equal(formatEndpoint(again), corrected);
      if (typeof verdict !== "string") assert.deepEqual(again, verdict, JSON.stringify(value));
      seen[typeof verdict === "string" ? (`${kind} refused` as const) : kind]++;
    }
    assert.ok(Math.min(...Object.values(seen)) > 100, JSON.stringify(seen));
  });

  it("[WE-10] takes a socket path of 107 bytes and refuses 108", () => {
    const path = (bytes: number) => `/${"a".repeat(bytes - 3)}ü`.slice(0, bytes);
    assert.deepEqual(parseEndpoint(formatEndpoint(unix(path(107)))), unix(path(107)));
    const error = refusal(() => parseEndpoint(formatEndpoint(unix(path(108)))));
    assert.match(error.message, /108 bytes.*107/);
  });

  it("[WE-08] falls back to SPIFFE_ENDPOINT_SOCKET and says what to set when it is not there", () => {
    assert.deepEqual(endpointFromEnvironment({ SPIFFE_ENDPOINT_SOCKET: "unix:///a" }), unix("/a"));
    const unset = refusal(() => endpointFromEnvironment({}));
    assert.match(unset.message, /SPIFFE_ENDPOINT_SOCKET is not set.*Expected: unix:\/\/\//);
    const empty = refusal(() => endpointFromEnvironment({ SPIFFE_ENDPOINT_SOCKET: "" }));
    assert.match(empty.message, /SPIFFE_ENDPOINT_SOCKET is empty/);
    assert.equal(refusal(() => endpointFromEnvironment({ SPIFFE_ENDPOINT_SOCKET: "/a" })).code, "ERR_SPIFFE_ENDPOINT");
  });
});
