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
    it(`${path.slice(0, 40)}: ${route ?? "none"}`, () => assert.equal(table.find(path, "any.test")?.path.text, route));
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
        assert.equal(drawn.find(path, "any.test")?.path.text, best, `${path} of ${paths.join(" ")}`);
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

describe("routes that name hosts", () => {
  const routesOf = (...routes: (readonly [listen: string, path: string, hosts?: readonly string[] | undefined])[]) =>
    parseGatewayConfig({
      listen: [{ name: "a" }, { name: "b", port: 8444 }],
      upstreams: { up: { url: "http://127.0.0.1:1" } },
      routes: routes.map(([listen, path, hosts], i) => ({
        name: `r${i}`,
        listen: [listen],
        path,
        upstream: "up",
        ...(hosts === undefined ? {} : { hosts }),
      })),
      policy: [{ rule: "all", allow: { via: ["x509"] } }],
    }).routes;

  it("[S-23] the host before the star, the star before any host, whatever their paths", () => {
    const table = new RouteTable(
      routesOf(
        ["a", "/x"],
        ["a", "/**", ["*.example"]],
        ["a", "/x/**", ["one.example", "two.example"]],
        ["a", "/y", ["one.example"]],
        ["b", "/z", ["one.example"]],
      ),
      "a",
    );
    for (const [host, path, route] of [
      ["other.test", "/x", "r0"],
      ["other.test", "/y", undefined],
      ["three.example", "/x", "r1"],
      ["one.example", "/x", "r2"],
      ["two.example", "/x/1", "r2"],
      ["one.example", "/y", "r3"],
      ["two.example", "/y", "r1"],
      ["one.example", "/z", "r1"],
      ["sub.one.example", "/x", "r0"],
      ["example", "/x", "r0"],
      ["*.example", "/x", "r1"],
      ["[::1]", "/x", "r0"],
      ["__proto__", "/x", "r0"],
    ] as const)
      assert.equal(table.find(path, host)?.name, route, `${host}${path}`);
  });

  it("[S-23] a host is elsewhere when another listener names it more exactly, and only then", () => {
    const routes = routesOf(["a", "/", ["*.example", "a.test"]], ["b", "/", ["b.example", "*.test", "*.deep.test"]]);
    const [a, b] = [new RouteTable(routes, "a"), new RouteTable(routes, "b")];
    for (const [host, inA, inB] of [
      ["b.example", true, false],
      ["c.example", false, true],
      ["a.test", false, true],
      ["c.test", true, false],
      ["x.deep.test", true, false],
      ["x.y.example", false, false],
      ["test", false, false],
      ["other", false, false],
    ] as const)
      assert.deepEqual([a.isElsewhere(host), b.isElsewhere(host)], [inA, inB], host);
    assert.equal(new RouteTable(routesOf(["a", "/"], ["b", "/"]), "a").isElsewhere("b.example"), false);
  });

  it("of one path and one host there is one route", () => {
    const said = (one: readonly string[] | undefined, other: readonly string[] | undefined) => {
      try {
        routesOf(["a", "/x/{y}", one], ["a", "/x/*", other]);
        return "accepted";
      } catch (error) {
        return (error as Error).message;
      }
    };
    const twins = /routes\[1\]\.path: route "r0" takes the same paths on the same listener/;
    assert.match(said(["a.example", "b.example"], ["c.example", "b.example"]), twins);
    assert.match(said(undefined, undefined), twins);
    assert.equal(said(["a.example"], ["b.example"]), "accepted");
    assert.equal(said(["a.example"], ["*.example"]), "accepted");
    assert.equal(said(["a.example"], undefined), "accepted");
  });

  it("hosts that no request can name are faults", () => {
    const addresses = ["127.1", "0x7f.0.0.1", "[0::1]", "[::1", "[127.0.0.1]", "*.0.0.1", "a.1"];
    const names = ["A.example", "a.example:1", "a.example.", "*", "a.*.example", "", "\u00e4.example", "a b"];
    for (const host of [...names, ...addresses])
      assert.throws(() => routesOf(["a", "/", [host]]), /routes\[0\]\.hosts\[0\]: ".*" is no host/, host);
    assert.throws(() => routesOf(["a", "/", []]), /routes\[0\]\.hosts: is empty/);
    assert.equal(routesOf(["a", "/", ["*.a.example", "a.example", "[::1]", "127.0.0.1"]]).length, 1);
  });
});
