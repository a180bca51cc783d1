import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import { describe, it } from "node:test";
import { parse as parseYaml } from "yaml";
import { Random } from "../../../test/soak/random.ts";
import { matchesSchema } from "../../../test/support/json-schema.ts";
import { isSpiffeError } from "../../base/index.ts";
import { splitArguments } from "./arguments.ts";
import { type HelperConfig, parseHelperConfig } from "./config.ts";

const X509 = "svid_file_name: svid.pem\nsvid_key_file_name: key.pem\nsvid_bundle_file_name: bundle.pem\n";
const GOOD = `agent_address: unix:///run/agent.sock\ncert_dir: certs\n${X509}`;

const schema = JSON.parse(readFileSync(new URL("helper.schema.json", import.meta.url), "utf8"));

/** Whether an editor that knows the schema finds nothing wrong. */
function fitsSchema(text: string): boolean {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch {
    return false;
  }
  return matchesSchema(value, schema);
}

function parse(text: string, env: Record<string, string> = {}): HelperConfig {
  const config = parseHelperConfig(text, "helper.yaml", env);
  assert.ok(fitsSchema(text), "the schema refuses what is right");
  return config;
}

describe("the helper's file", () => {
  it("has defaults", () => {
    assert.deepEqual(parse(GOOD), {
      socket: "unix:///run/agent.sock",
      folder: "certs",
      hint: undefined,
      x509: { svid: "svid.pem", key: "key.pem", bundle: "bundle.pem" },
      jwtBundle: undefined,
      tokens: [],
      modes: { cert: 0o644, key: 0o600, jwtBundle: 0o600, token: 0o600 },
      intermediatesToBundle: false,
      federated: false,
      omitExpired: false,
      daemon: true,
      command: undefined,
      pidFile: undefined,
      signal: undefined,
      health: undefined,
    });
  });

  it("takes every key of spiffe-helper's configuration", () => {
    const config = parse(`${GOOD}
jwt_svids:
  - { jwt_audience: a, jwt_extra_audiences: [b, a], jwt_svid_file_name: a.jwt }
jwt_bundle_file_name: jwt.json
cert_file_mode: "0444"
key_file_mode: "0640"
jwt_bundle_file_mode: "644"
jwt_svid_file_mode: "0400"
hint: internal
add_intermediates_to_bundle: true
include_federated_domains: true
omit_expired: true
daemon_mode: true
cmd: /usr/sbin/nginx
cmd_args: -g "daemon off;"
pid_file_name: /run/nginx.pid
renew_signal: SIGHUP
health_checks: { listener_enabled: true, bind_port: 9000, liveness_path: /l, readiness_path: /r }
`);
    assert.deepEqual(config.tokens, [{ audience: ["a", "b"], name: "a.jwt" }]);
    assert.deepEqual(config.modes, { cert: 0o444, key: 0o640, jwtBundle: 0o644, token: 0o400 });
    assert.ok(config.intermediatesToBundle && config.federated && config.omitExpired && config.daemon);
    assert.deepEqual(config.command, { file: "/usr/sbin/nginx", args: ["-g", "daemon off;"], timeoutMs: undefined });
    assert.deepEqual([config.pidFile, config.signal, config.hint], ["/run/nginx.pid", "SIGHUP", "internal"]);
    assert.deepEqual(config.health, { port: 9_000, livePath: "/l", readyPath: "/r" });
  });

  it("a command without a signal has to end in time", () => {
    const command = (text: string) => parse(`${GOOD}cmd: reload\n${text}`).command;
    assert.deepEqual(command("cmd_args: [a, 'b c']\n"), { file: "reload", args: ["a", "b c"], timeoutMs: 30_000 });
    assert.equal(command("cmd_timeout: 5s\n")?.timeoutMs, 5_000);
    assert.equal(command("renew_signal: SIGHUP\n")?.timeoutMs, undefined);
    assert.equal(command("renew_signal: SIGHUP\ncmd_timeout: 5s\n")?.timeoutMs, 5_000);
  });

  it("finds the agent by path, by URI or by the environment", () => {
    const rest = `cert_dir: certs\n${X509}`;
    assert.equal(parse(`agent_address: /tmp/agent.sock\n${rest}`).socket, "unix:///tmp/agent.sock");
    assert.equal(parse(`agent_address: tcp://127.0.0.1:8000\n${rest}`).socket, "tcp://127.0.0.1:8000");
    assert.equal(parse(rest, { SPIFFE_ENDPOINT_SOCKET: "unix:///env.sock" }).socket, "unix:///env.sock");
    assert.equal(parse(`agent_address: "$${"{SOCK}"}"\n${rest}`, { SOCK: "/s.sock" }).socket, "unix:///s.sock");
  });

  const wrong: [what: string, text: string, says: RegExp][] = [
    [
      "an unknown key",
      `${GOOD}svid_filename: x`,
      /^helper\.yaml:6:1 svid_filename: unknown key \(did you mean "svid_file_name"\?\)/,
    ],
    [
      "an unknown key of a token",
      `${GOOD}jwt_svids: [{ jwt_audience: a, jwt_svid_file: b }]`,
      /jwt_svids\[0\]\.jwt_svid_file: unknown key/,
    ],
    ["an unknown key of the health checks", `${GOOD}health_checks: { port: 1 }`, /health_checks\.port: unknown key/],
    ["no folder", `agent_address: /a\n${X509}`, /has no cert_dir/],
    ["no agent", `cert_dir: certs\n${X509}`, /has no agent_address.*SPIFFE_ENDPOINT_SOCKET/],
    ["a relative agent address", `agent_address: agent.sock\ncert_dir: certs\n${X509}`, /:1:1 agent_address: /],
    ["nothing to write", "agent_address: /a\ncert_dir: certs\n", /names no file to write/],
    [
      "a certificate without its key",
      "agent_address: /a\ncert_dir: certs\nsvid_file_name: a\n",
      /comes without svid_key_file_name and svid_bundle_file_name/,
    ],
    ["one name twice", GOOD.replace("key.pem", "svid.pem"), /two files are called "svid\.pem"/],
    ["a path as name", GOOD.replace("key.pem", "../key.pem"), /"\.\.\/key\.pem" is no file name/],
    ["a hidden name", GOOD.replace("key.pem", ".key"), /"\.key" is no file name/],
    ["a name of a federated bundle", GOOD.replace("key.pem", "a.spiffe-trust-bundle.pem"), /is no file name/],
    ["a mode as number", `${GOOD}cert_file_mode: 0644`, /644 is no file mode.*in quotes, such as "0644"/],
    ["a mode that is none", `${GOOD}cert_file_mode: "0999"`, /"0999" is no file mode/],
    [
      "a key that everybody may read",
      `${GOOD}key_file_mode: "0444"`,
      /"0444" is no mode for this file; others could read/,
    ],
    ["a token that everybody may read", `${GOOD}jwt_svid_file_mode: "0604"`, /"0604" is no mode/],
    ["a key that its owner can not read", `${GOOD}key_file_mode: "0040"`, /"0040" is no mode/],
    ["a program as mode", `${GOOD}cert_file_mode: "0755"`, /"0755" is no mode/],
    ["nothing as flag", `${GOOD}omit_expired:`, /null is neither true nor false/],
    ["a word as flag", `${GOOD}omit_expired: "yes"`, /"yes" is neither true nor false/],
    ["arguments without command", `${GOOD}cmd_args: x`, /cmd_args: comes without cmd/],
    ["arguments with an open quote", `${GOOD}cmd: x\ncmd_args: 'a "b'`, /are no arguments/],
    ["a number as arguments", `${GOOD}cmd: x\ncmd_args: 5`, /5 are no arguments/],
    ["a duration that is none", `${GOOD}cmd: x\ncmd_timeout: 5`, /5 is no duration/],
    ["a pid file without signal", `${GOOD}pid_file_name: /run/x.pid`, /comes without renew_signal/],
    ["a signal for nobody", `${GOOD}renew_signal: SIGHUP`, /has nobody to go to/],
    ["a signal that is none", `${GOOD}cmd: x\nrenew_signal: HUP`, /"HUP" is no signal/],
    ["a signal that ends", `${GOOD}cmd: x\nrenew_signal: SIGKILL`, /"SIGKILL" is no signal/],
    ["a command without daemon", `${GOOD}daemon_mode: false\ncmd: x`, /cmd: stands beside daemon_mode: false/],
    ["a token without audience", `${GOOD}jwt_svids: [{ jwt_svid_file_name: a }]`, /has no jwt_audience/],
    ["a token without name", `${GOOD}jwt_svids: [{ jwt_audience: a }]`, /has no jwt_svid_file_name/],
    ["no tokens", `${GOOD}jwt_svids: []`, /is empty/],
    ["a port that is none", `${GOOD}health_checks: { bind_port: 70000 }`, /70000 is no port/],
    ["a path that is none", `${GOOD}health_checks: { liveness_path: live }`, /"live" is no path/],
    ["one path for both", `${GOOD}health_checks: { liveness_path: /ready }`, /"\/ready" for both/],
    ["a variable that is not set", `${GOOD}hint: "$${"{HINT}"}"`, /HINT is not set/],
    ["a key twice", `${GOOD}cert_dir: b`, /helper\.yaml:6:1/],
    ["no YAML", "cert_dir: [", /helper\.yaml:1:/],
    ["nothing", "", /empty/],
  ];
  /** What no schema can see: it compares no values, and knows no environment. */
  const beyond = ["no agent", "one name twice", "one path for both", "a variable that is not set"];
  for (const [what, text, says] of wrong) {
    it(`refuses ${what}`, () => {
      assert.throws(() => parse(text), { code: "ERR_SPIFFE_CONFIG", message: says });
      assert.equal(fitsSchema(text), beyond.includes(what), "by the schema");
      assert.ok(parse(GOOD));
    });
  }

  it("says of spiffe-helper's own form what it is, and what to write", () => {
    const hcl =
      '# the agent\n\nagent_address = "/run/agent.sock"\ncert_dir = "certs"\nhealth_checks { listener_enabled = true }\n';
    assert.throws(
      () => parseHelperConfig(hcl, "helper.conf", {}),
      (error: unknown) =>
        isSpiffeError(error, "ERR_SPIFFE_CONFIG") && /^helper\.conf: is HCL.*cert_dir: certs$/.test(error.message),
    );
    assert.equal(parse(`# the agent\n\n${GOOD}cmd: a\ncmd_args: x = y\n`).folder, "certs");
  });

  it("tells all faults at once, a line each", () => {
    assert.throws(
      () => parse(`${GOOD}hints: x\ncert_file_mode: 7\nrenew_signal: X`),
      (error: Error) => {
        return (
          error.message.split("\n").length === 3 &&
          error.message.split("\n").every((line) => line.startsWith("helper.yaml:"))
        );
      },
    );
  });
});

describe("the schema of the helper's file", () => {
  it("knows every key and every signal that the reader knows, and no other", () => {
    const unknown = (text: string) => {
      try {
        parseHelperConfig(text, "helper.yaml", {});
        return false;
      } catch (error) {
        return /unknown key/.test(String(error));
      }
    };
    for (const key of Object.keys(schema.properties)) assert.ok(!unknown(`${key}: x`), key);
    const health = Object.keys(schema.properties.health_checks.properties);
    for (const key of health) assert.ok(!unknown(`health_checks: { ${key}: x }`), key);
    assert.ok(unknown("svids: x"));
    for (const name of Object.keys(constants.signals)) {
      // A name without a signal, which Deno alone knows.
      if (name === "SIGUNUSED") continue;
      const text = `${GOOD}cmd: x\nrenew_signal: ${name}\n`;
      assert.equal(fitsSchema(text), name !== "SIGKILL" && name !== "SIGSTOP", name);
    }
  });

  it("says of random files what the reader says", () => {
    const random = new Random(20_261_126);
    const values = [
      "",
      "a",
      "a b",
      ".a",
      "a/b",
      "a.spiffe-trust-bundle.pem",
      '"',
      "0600",
      "0640",
      "0644",
      "640",
      "SIGHUP",
    ];
    values.push("SIGFOO", "/a", "unix:///a", "tcp://127.0.0.1:1", "5s", "5", "0s", "a\nb");
    const any: unknown[] = [...values, 0, 8_081, 65_536, 1.5, true, false, null, [], ["a"], [""], [1], {}, { a: 1 }];
    const block = (keys: readonly string[], likely: unknown[]) =>
      Object.fromEntries(
        Array.from({ length: random.between(0, 3) }, () => [
          random.pick(keys),
          random.pick(random.next() < 0.5 ? likely : any),
        ]),
      );
    const inner = {
      health: Object.keys(schema.properties.health_checks.properties),
      token: ["jwt_audience", "jwt_extra_audiences"],
    };
    const verdicts = { accepted: 0, refused: 0, beyond: 0 };
    for (let n = 0; n < 4_000; n++) {
      const likely = [true, false, "a", "SIGHUP", "0600", ["a"]];
      const more = { ...(parseYaml(GOOD) as object), ...block(Object.keys(schema.properties), likely) } as Record<
        string,
        unknown
      >;
      if (random.next() < 0.3) more.health_checks = block(inner.health, [true, 1, "/a", "/b"]);
      if (random.next() < 0.3)
        more.jwt_svids = [{ jwt_audience: "a", jwt_svid_file_name: "t", ...block(inner.token, ["a", ["b"]]) }];
      const text = JSON.stringify(more);
      let error: unknown;
      try {
        parseHelperConfig(text, "helper.yaml", {});
      } catch (thrown) {
        error = thrown;
      }
      assert.ok(error === undefined || isSpiffeError(error, "ERR_SPIFFE_CONFIG"));
      const seen = /two files are called|for both paths|has no agent_address|The Workload API address/;
      const isBeyond = error?.message.split("\n").every((line) => seen.test(line)) === true;
      if (!isBeyond) assert.equal(fitsSchema(text), error === undefined, `${text}: ${error}`);
      verdicts[isBeyond ? "beyond" : error === undefined ? "accepted" : "refused"]++;
    }
    assert.ok(verdicts.accepted > 200 && verdicts.refused > 200, JSON.stringify(verdicts));
  });
});

describe("splitArguments", () => {
  for (const [text, args] of [
    ["", []],
    ["a  b ", ["a", "b"]],
    ['"a b" c', ["a b", "c"]],
    ['"say ""hi"" twice"', ['say "hi" twice']],
    ["-c 'echo hello'", ["-c", "'echo", "hello'"]],
    ['a"b c', ['a"b', "c"]],
    ['""', [""]],
    ['"a', undefined],
    ['"a"b', undefined],
  ] as const) {
    it(`${JSON.stringify(text)} becomes ${JSON.stringify(args) ?? "nothing"}`, () => {
      assert.deepEqual(splitArguments(text), args);
    });
  }
});
