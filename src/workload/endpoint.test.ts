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
  ["WE-09", "http://127.0.0.1:1", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-09", "npipe:pipe", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
  ["WE-09", "://x", "unix:///run/spire/agent/public/api.sock", unix("/run/spire/agent/public/api.sock")],
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

  it("[WE-09] [WE-10] [WE-11] prints a form that it accepts for whatever it refuses", () => {
    const parts = [
      "unix:",
      "tcp:",
      "UNIX:",
      "http:",
      "//",
      "/",
      "///",
      "run",
      "a b",
      "ü",
      "%41",
      "%zz",
      "%00",
      "%ff",
      ":",
      "@",
    ];
    parts.push(
      "?",
      "#",
      "127.0.0.1",
      "[::1]",
      "[",
      "]",
      "localhost",
      "8081",
      "0",
      "65536",
      "\\",
      "\n",
      " ",
      "x".repeat(60),
    );
    const random = new Random(20_261_126);
    const verdicts = { accepted: 0, refused: 0 };
    for (let n = 0; n < 20_000; n++) {
      const scheme = random.pick(["unix:", "unix:/", "tcp://127.0.0.1:", ""]);
      const value = scheme + Array.from({ length: random.between(0, 3) }, () => random.pick(parts)).join("");
      let corrected: string;
      try {
        const parsed = parseEndpoint(value);
        verdicts.accepted++;
        corrected = formatEndpoint(parsed);
        assert.deepEqual(parseEndpoint(corrected), parsed, value);
      } catch (error) {
        assert.ok(error instanceof SpiffeError && error.code === "ERR_SPIFFE_ENDPOINT", `${value}: ${error}`);
        verdicts.refused++;
        corrected = error.message.slice(error.message.lastIndexOf("Expected: ") + "Expected: ".length);
        assert.doesNotThrow(() => parseEndpoint(corrected), `${JSON.stringify(value)} → ${corrected}`);
      }
    }
    assert.ok(verdicts.accepted > 2_000 && verdicts.refused > 2_000, JSON.stringify(verdicts));
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
