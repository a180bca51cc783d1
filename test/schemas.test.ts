/** The published schemas and the readers of the same files: each knows what the other knows. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { parse } from "yaml";
import { withPolicy } from "../scripts/lib/schema.ts";
import { parseGatewayConfig } from "../src/gateway/index.ts";
import { parsePolicy } from "../src/policy/index.ts";
import { Draw } from "../src/policy/random.testing.ts";
import { matchesSchema, schemaFaults } from "./support/json-schema.ts";
import { root } from "./support/programs.ts";

type Schema = Record<string, unknown> & { $defs: Record<string, Schema> };
const schemaOf = (name: string) => JSON.parse(readFileSync(`${root}src/${name}.schema.json`, "utf8")) as Schema;
const policySchema = schemaOf("policy/policy");
const gatewaySchema = schemaOf("gateway/gateway");

const rule = {
  rule: "r",
  allow: { ids: ["spiffe://example.org/ns/{tenant}/sa/*"], via: ["x509"] },
  methods: ["GET"],
  hosts: ["a.example"],
  path: "/a/{tenant}/**",
  headers: { "x-a": ["b", "{tenant}/*"] },
  claims: { a: { b: ["c", 1] } },
  time: { from: "2026-12-01T00:00:00Z", to: "2026-12-02T00:00:00Z" },
  routes: ["a"],
  mode: "audit",
  until: "2026-12-15T00:00:00Z",
};
const deny = { rule: "d", deny: { trustDomains: ["example.org"], via: ["jwt"], anonymous: true }, mode: "enforce" };
const ruleSet = { rules: [rule, deny], mode: "audit", until: "2026-12-15T00:00:00Z", end: true };
const gateway = {
  identity: { socket: "unix:///run/agent.sock", startupTimeout: "30s" },
  status: { address: "127.0.0.1", port: 0 },
  listen: [
    { name: "a", address: "0.0.0.0", port: 8443, clientCertificate: "require", maxConnectionAge: "30m" },
    { name: "b", port: 8444, clientCertificate: "none", proxyProtocol: { from: ["10.0.0.0/8"] } },
    { name: "c", protocol: "tcp", port: 5432, clientCertificate: "require", maxConnections: 100 },
  ],
  upstreams: {
    proven: {
      url: ["https://a.test:8443", "https://b.test"],
      id: "spiffe://example.org/a",
      protocol: "h2",
      tryTimeout: "3s",
      retries: { max: 2, budget: "10%" },
      health: { path: "/healthz", every: "1000ms" },
    },
    local: { url: "http://127.0.0.1:3000" },
    socket: { url: ["unix:/run/a.sock", "http://[::1]:1/"] },
    bytes: { url: ["tls://a.test:5432"], id: "spiffe://example.org/db", connectTimeout: "5s" },
    inner: { url: ["tcp://127.0.0.1:5432", "unix:/run/pg.sock"], proxyProtocol: "v2" },
    outer: { url: "tcp://10.0.0.1:5432", unsafePlainUpstream: true },
    plain: { url: ["http://10.0.0.1:80", "http://localhost:1"], unsafePlainUpstream: true },
  },
  routes: [
    {
      name: "a",
      listen: ["a"],
      hosts: ["a.test", "*.b.test"],
      path: "/a/{tenant}/**",
      upstream: "proven",
      timeout: "10s",
    },
    {
      name: "b",
      path: "/b/*",
      audience: ["spiffe://example.org/b"],
      upstream: "local",
      websocket: true,
      unsafeForwardToken: true,
    },
    { name: "c", listen: ["c"], upstream: "inner", idle: "1h", maxConnectionsPerIdentity: 10 },
  ],
  egress: [
    { name: "out", address: "127.0.0.1", port: 9001, upstream: "bytes", idle: "1h", maxConnections: 10 },
    { name: "file", socket: "/run/out.sock", mode: "0660", upstream: "bytes" },
  ],
  policy: {
    rules: [{ rule: "r", allow: { via: ["x509"] }, routes: ["a"] }],
    files: [{ glob: "teams/*.yaml", idPrefixes: ["spiffe://example.org/ns"] }],
    candidate: { rules: [{ rule: "c", deny: { via: ["jwt"] } }], mode: "audit", until: "2026-12-15T00:00:00Z" },
    authorizer: { url: "http://127.0.0.1:9191/check", timeout: "200ms", headers: ["x-plan"] },
  },
  limits: {
    connections: 10_000,
    handshake: "5s",
    headers: "32KiB",
    body: "10MiB",
    idle: "60s",
    perIdentity: {
      rate: "50/s",
      burst: 100,
      store: {
        url: "rediss://valkey.test:6380",
        id: "spiffe://example.org/valkey",
        username: "gateway",
        passwordFile: "/run/secrets/valkey",
        prefix: "edge:",
        timeout: "50ms",
      },
    },
  },
  accessLog: { file: "/var/log/spiffe-edge/access.log", everyRefusal: true },
  drain: { delay: "5s", deadline: "30s" },
  explain: "code",
  xfcc: { from: ["spiffe://example.org/edge"], chain: true },
  end: true,
};

const readPolicyFiles = () => [{ file: "t.yaml", text: '- { rule: t, allow: { ids: ["spiffe://example.org/ns"] } }' }];
/** What a reader says of a value: nothing where it takes it. */
const said = (read: () => unknown): string => {
  try {
    read();
    return "";
  } catch (error) {
    return (error as Error).message;
  }
};
const kinds = {
  policy: {
    schema: policySchema,
    sample: ruleSet,
    read: (value: unknown) => said(() => parsePolicy(JSON.stringify(value))),
  },
  gateway: {
    schema: gatewaySchema,
    sample: gateway,
    read: (value: unknown) => said(() => parseGatewayConfig(JSON.stringify(value), { env: {}, readPolicyFiles })),
  },
};

/** Values to try in every place; undefined takes what is there away. */
const ODD: readonly unknown[] = [
  ...[undefined, null, true, 0, -1, 1.5, "", "x", "*", "{a}", "/", [], ["x"], ["x", "x"], [null], {}, { x: "y" }],
  ...["spiffe://a/b", "spiffe://a/../b", "spiffe://a", "1s", "11s", "2026-02-01T00:00:00Z", "audit", "\u00e9"],
];
const OF_RULES: readonly unknown[] = [
  ...[false, 2 ** 53, " ", "**", "a*b", "/*", "/**", "/a/../b", "/a//b", "/%41", "/%2f", "/%C3%A9", "/a;b", "{", [""]],
  ...[{ "x y": "z" }, { X_Spiffe_Id: "a" }, [{}], "spiffe://a/b/**", "2026-13-01T00:00:00Z", "2026-12-01T24:00:00Z"],
  ...["2026-12-01", "A", "a.b", "A.B", "[::1]", "GET", "get", "x509", "enforce", "x".repeat(300)],
];
const OF_GATEWAYS: readonly unknown[] = [
  ...["/a/../b", "/%2f", "0s", "10001ms", "99ms", "200%", "1KB", "http://b.test/", "http://127.0.0.1:1"],
  ...["https://a.test/", "unix:/a", "content-type", ["authorization"], ["x-b"], 65_536],
];

type Place = readonly (string | number)[];
type Block = Record<string | number, unknown>;

/** Every place of a value, itself first. */
function placesOf(value: unknown, at: Place = []): { at: Place; value: unknown }[] {
  const inner = typeof value === "object" && value !== null ? Object.entries(value) : [];
  const key = (name: string) => (Array.isArray(value) ? Number(name) : name);
  return [{ at, value }, ...inner.flatMap(([name, one]) => placesOf(one, [...at, key(name)]))];
}

/** A copy with another value at a place; undefined takes it away. */
function withValue(value: unknown, at: Place, put: unknown): unknown {
  const copy = structuredClone(value) as Block;
  if (at.length === 0) return put;
  const holder = at.slice(0, -1).reduce<Block>((block, part) => block[part] as Block, copy);
  const last = at.at(-1) as string | number;
  if (put !== undefined) holder[last] = put;
  else if (Array.isArray(holder)) holder.splice(Number(last), 1);
  else delete holder[last];
  return copy;
}

/** The keys that a schema knows at a place of a value, along the alternatives that fit it. */
function keysAt(schema: Schema, value: unknown, at: Place): Set<string> {
  const found = new Set<string>();
  const walk = (part: unknown, one: unknown, rest: Place): void => {
    if (typeof part !== "object" || part === null) return;
    const { $ref, oneOf, anyOf, allOf, properties, additionalProperties, items } = part as Record<string, unknown>;
    if ($ref !== undefined) walk(schema.$defs[String($ref).replace("#/$defs/", "")], one, rest);
    for (const inner of [oneOf, anyOf].flatMap((list) => (list ?? []) as Schema[])) {
      if (schemaFaults(schema, inner, one).length === 0) walk(inner, one, rest);
    }
    for (const inner of (allOf ?? []) as Schema[]) walk(inner, one, rest);
    const [next, ...more] = rest;
    if (next === undefined) for (const key of Object.keys(properties ?? {})) found.add(key);
    else if (typeof next === "number") walk(items, (one as Block)[next], more);
    else walk((properties as Block | undefined)?.[next] ?? additionalProperties, (one as Block)[next], more);
  };
  walk(schema, value, at);
  return found;
}

for (const [kind, { schema, sample, read }] of Object.entries(kinds)) {
  describe(`${kind}.schema.json and its reader`, () => {
    it("take a file with every key", () => {
      assert.deepEqual(schemaFaults(schema, schema, sample), []);
      assert.equal(read(sample), "");
    });

    it("know the same keys in every block", () => {
      let blocks = 0;
      for (const { at, value } of placesOf(sample)) {
        if (typeof value !== "object" || value === null || Array.isArray(value)) continue;
        const told = /zzz: unknown key[^\n]*Expected: one of ([^\n]+)/.exec(read(withValue(sample, [...at, "zzz"], 1)));
        // a block of names: upstreams, headers, claims
        if (told === null) continue;
        blocks++;
        assert.deepEqual([...keysAt(schema, sample, at)].sort(), told[1]?.split(", ").sort(), at.join("."));
        assert.equal(matchesSchema(withValue(sample, [...at, "zzz"], 1), schema), false, at.join("."));
      }
      assert.ok(blocks >= (kind === "policy" ? 6 : 20), String(blocks));
    });

    it("judge odd values in every place alike, but for what a schema cannot say", () => {
      let [taken, refused, more] = [0, 0, 0];
      // what is within rules has its places in the other schema
      const isTried = ({ at }: { at: Place }) => kind === "policy" || at[0] !== "policy" || at.length < 4;
      for (const { at } of placesOf(sample).filter(isTried)) {
        for (const value of [...ODD, ...(kind === "policy" ? OF_RULES : OF_GATEWAYS)]) {
          const changed = withValue(sample, at, value);
          if (changed === undefined) continue;
          const fault = read(changed);
          const fits = matchesSchema(changed, schema);
          const place = `${at.join(".")} = ${JSON.stringify(value)}: ${fault}`;
          if (fault === "") assert.ok(fits, place);
          if (fault === "") taken++;
          else if (!fits) refused++;
          else {
            more++;
            assert.ok(
              fault.split("\n").some((line) => BEYOND.some((one) => one.test(line))),
              place,
            );
          }
        }
      }
      assert.ok(taken > 100 && refused > 1_000 && more > 5, `${taken} ${refused} ${more}`);
    });
  });
}

/** Faults that lie between places, or in what a value means. */
const BEYOND: readonly RegExp[] = [
  /nothing captures \{|nothing else of the rule is compared|not every caller named here has/,
  /a second (?:rule|route|listener) is called|another listener has port|takes the same paths|is there twice/,
  /there is no (?:route|upstream|listener) "/,
  /ends before it begins|is not the last key|could be read in two ways/,
  /is not for this file to say/,
  /is no address or prefix|is everybody|forwards tokens|are longer than the|takes WebSocket|no route is of tcp listener/,
  // of a route whose listener turns out to carry the other kind
  /routes\[2\]\.\w+: unknown key/,
  /takes no certificates, so this needs "audience"/,
  /is the same header as another here|a rule looks at x-/,
];

describe("schemas", () => {
  it("every random policy fits, as the reader takes it", () => {
    const draw = new Draw(37);
    for (let n = 0; n < 500; n++) {
      const rules = JSON.parse(JSON.stringify(draw.rules(6))) as unknown;
      assert.deepEqual(schemaFaults(policySchema, policySchema, rules), [], JSON.stringify(rules));
      assert.equal(kinds.policy.read(rules), "");
    }
  });

  it("the gateway's takes the example", () => {
    const example = parse(readFileSync(`${root}examples/gateway.yaml`, "utf8")) as unknown;
    assert.deepEqual(schemaFaults(gatewaySchema, gatewaySchema, example), []);
  });

  it("the gateway's holds the policy's definitions; node scripts/schema.ts puts them in", () => {
    assert.deepEqual(gatewaySchema, withPolicy(gatewaySchema, policySchema));
    assert.ok("gatewayPolicy" in gatewaySchema.$defs && "principals" in gatewaySchema.$defs);
  });
});
