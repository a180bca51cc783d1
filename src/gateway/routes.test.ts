import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { dice } from "../policy/random.testing.ts";
import { parseGatewayConfig } from "./config.ts";
import { parseRoutePath, RouteTable } from "./routes.ts";

const configOf = (paths: readonly string[]) =>
  parseGatewayConfig({
    listen: [{ name: "a" }, { name: "b", port: 8444 }],
    upstreams: { up: { url: "http://127.0.0.1:1" } },
    routes: paths.map((path, i) => ({ name: `r${i}`, path, upstream: "up" })),
    policy: [{ rule: "all", allow: { via: ["x509"] } }],
  });
const tableOf = (paths: readonly string[]) => new RouteTable(configOf(paths).routes, "a");

describe("which route a request takes", () => {
  const table = tableOf([
    "/reports/{tenant}/**",
    "/reports/{tenant}/summary",
    "/reports/acme/**",
    "/reports",
    "/*/health",
    "/{area}/{item}",
    "/a/b/*/d",
    "/a/*/c/**",
    "/x/",
    "/",
  ]);
  for (const [path, route] of [
    ["/reports", "/reports"],
    ["/reports/", undefined],
    ["/reports/other", "/reports/{tenant}/**"],
    ["/reports/other/7", "/reports/{tenant}/**"],
    ["/reports/other/summary", "/reports/{tenant}/summary"],
    ["/reports/acme/summary", "/reports/acme/**"],
    ["/reports/acme", "/reports/acme/**"],
    ["/reports/health", "/reports/{tenant}/**"],
    ["/orders/health", "/*/health"],
    ["/orders/7", "/{area}/{item}"],
    ["/orders/7/x", undefined],
    ["/orders/", undefined],
    ["/a/b/c/d", "/a/b/*/d"],
    ["/a/b/c/e", "/a/*/c/**"],
    ["/a/b/x/d", "/a/b/*/d"],
    ["/a/b/x/e", undefined],
    ["/a/b//d", undefined],
    ["/x/", "/x/"],
    ["/x", undefined],
    ["/", "/"],
    [`/a/q/c${"/z".repeat(50_000)}`, "/a/*/c/**"],
    ["/__proto__", undefined],
    ["/constructor/health", "/*/health"],
  ] as const) {
    it(`${path.slice(0, 40)}: ${route ?? "none"}`, () => assert.equal(table.find(path)?.path.text, route));
  }

  it("text before a wildcard, segment by segment, as a plain comparison of all of them finds, 30,000 random paths", () => {
    const roll = dice(5);
    const segment = () => ["a", "b", "*", "{x}"][roll(4)] as string;
    let matched = 0;
    let contested = 0;
    for (let n = 0; n < 3_000; n++) {
      const shapes = new Map<string, string>();
      for (let i = 0; i < 8; i++) {
        const text = `/${[...Array.from({ length: roll(4) }, segment), ...(roll(2) === 0 ? ["**"] : [])].join("/")}`;
        const parsed = parseRoutePath(text);
        if (parsed.ok) shapes.set(parsed.value.shape, text);
      }
      const paths = [...shapes.values()];
      if (paths.length === 0) continue;
      const drawn = tableOf(paths);
      for (let k = 0; k < 10; k++) {
        const path = `/${Array.from({ length: roll(5) }, () => ["a", "b", "c"][roll(3)]).join("/")}`;
        const fitting = paths.filter((one) => {
          const body = one.replace(/\/\*\*$/, "\0").replace(/\*|\{x\}/g, "[^/]+");
          return new RegExp(`^${body.replace("\0", "(?:/.*)?")}$`).test(path);
        });
        // text sorts before a wildcard, a wildcard before **; the end of a path before everything
        const rank = (one: string) => one.replace(/\*\*/g, "~").replace(/\*|\{x\}/g, "}");
        const [best] = fitting.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
        assert.equal(drawn.find(path)?.path.text, best, `${path} of ${paths.join(" ")}`);
        if (best !== undefined) matched++;
        if (fitting.length > 1) contested++;
      }
    }
    assert.ok(matched > 6_000 && contested > 3_000, `${matched} ${contested}`);
  });
});

describe("paths of routes that take the same requests", () => {
  const said = (...paths: string[]) => {
    try {
      configOf(paths);
      return "accepted";
    } catch (error) {
      return (error as Error).message;
    }
  };
  for (const [one, other, twin] of [
    ["/a/{x}", "/a/{y}", "/b/{y}"],
    ["/a/*", "/a/{y}", "/a/y"],
    ["/{x}/b/**", "/*/b/**", "/*/b"],
    ["/a", "/a", "/a/"],
    ["/**", "/**", "/"],
  ] as const) {
    it(`${one} and ${other} are refused, ${one} and ${twin} are not`, () => {
      assert.match(said(one, other), /routes\[1\]\.path: route "r0" takes the same paths on the same listener/);
      assert.equal(said(one, twin), "accepted");
    });
  }
});
