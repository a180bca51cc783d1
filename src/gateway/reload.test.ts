import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, describe, it } from "node:test";
import { soon } from "../../test/support/eventually.ts";
import { ManualClock } from "../authority/testing.ts";
import { type Clock, isSpiffeError, systemClock } from "../base/index.ts";
import { silentLogger } from "../telemetry/logger.ts";
import { createFetch } from "../tls/index.ts";
import { TestAuthorizer } from "./authorizer.testing.ts";
import { loadGatewayConfig, readingOf } from "./config-file.ts";
import type { GatewayConfig, GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway, GatewayOptions } from "./gateway-types.ts";
import { Reloader } from "./reload.ts";
import {
  type Changeable,
  type CountingUpstream,
  countingUpstream,
  GATEWAY,
  http2Client,
  idOf,
  requestLog,
  until,
  World,
} from "./world.testing.ts";

let world: World;
let first: CountingUpstream;
let second: CountingUpstream;
let web: Changeable;
let guest: Changeable;
let folder: string;
let gateway: Gateway | undefined;
/** The answers that the upstreams have begun. */
let open: ServerResponse[] = [];

before(async () => {
  world = await World.create();
  [web, guest] = await Promise.all([world.identity("web"), world.identity("guest")]);
  const answer = (name: string) => (request: { url?: string | undefined }, response: ServerResponse) => {
    if (request.url?.startsWith("/stream") !== true) return void response.end(name);
    response.write("begun ");
    open.push(response);
  };
  [first, second] = [await countingUpstream(answer("first")), await countingUpstream(answer("second"))];
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "reload-"));
  open = [];
});
afterEach(async () => {
  await gateway?.close({ deadlineMs: 0 });
  gateway = undefined;
  rmSync(folder, { recursive: true, force: true });
});
after(() => Promise.all([first.close(), second.close()]));

const rule = (name: string, more: object = {}) => ({ rule: name, allow: { ids: [idOf(name)] }, ...more });
const config = (more: Partial<GatewayInput> = {}): GatewayInput => ({
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { up: { url: first.url } },
  routes: [{ name: "up", path: "/**", audience: [GATEWAY], upstream: "up" }],
  policy: [rule("web"), rule("guest")],
  ...more,
});
const start = async (input: GatewayInput | GatewayConfig, options: Omit<GatewayOptions, "workload"> = {}) => {
  gateway = await createGateway(input, { workload: await world.identity("gateway"), ...options });
  return gateway;
};
const url = (path = "/") => `https://127.0.0.1:${gateway!.listeners[0]!.port}${path}`;
const get = (who: Changeable, path = "/", init: RequestInit = {}) =>
  createFetch(who, { peer: GATEWAY })(url(path), init);
const ask = async (who: Changeable, path = "/") => {
  const response = await get(who, path);
  return `${response.status} ${response.status === 200 ? await response.text() : ((await response.json()) as { reason: string }).reason}`;
};
const refuses = (message: RegExp, reason?: string) => (error: unknown) =>
  isSpiffeError(error) && message.test(error.message) && (reason === undefined || error.reason === reason);
/** What of a body arrives, and whether it ends as it should. */
const bodyOf = (response: Response) =>
  response.text().then(
    (text) => `whole ${text}`,
    () => "broken",
  );
/** The same of one that has to end by itself. */
const endOf = (body: Promise<string> | undefined) => soon(body!, "the stream ends");

describe("reload", () => {
  it("policy, routes and upstreams change at once for every later request", async () => {
    await start(config());
    assert.deepEqual([await ask(web), await ask(guest)], ["200 first", "200 first"]);
    await gateway!.reload(config({ policy: [rule("web")], upstreams: { up: { url: second.url } } }));
    assert.deepEqual([await ask(web), await ask(guest)], ["200 second", "403 policy.default-deny"]);
    await gateway!.reload(config({ routes: [{ name: "up", path: "/only", upstream: "up" }] }));
    assert.deepEqual([await ask(web), await ask(web, "/only")], ["404 request.no-route", "200 first"]);
  });

  it("limits, drain and the candidate change as well", async () => {
    await start(config({ limits: { body: "4B" } }));
    const post = async () => (await get(web, "/", { method: "POST", body: "12345" })).status;
    assert.equal(await post(), 413);
    await gateway!.reload(
      config({ limits: { body: "5B" }, policy: { rules: [rule("web")], candidate: [rule("guest")] } }),
    );
    assert.equal(await post(), 200);
    assert.deepEqual((gateway!.report() as { candidate: object }).candidate, {
      rules: ["guest"],
      same: 0,
      wouldAllow: 0,
      wouldDeny: 1,
    });
  });

  it("an upstream whose settings are the same goes on with what it has, another is new", async () => {
    await start(config());
    type Report = { upstreams: { counters: { tries: { answered: number } } }[] };
    const answered = () => (gateway!.report() as Report).upstreams[0]!.counters.tries.answered;
    assert.equal(await ask(web), "200 first");
    await gateway!.reload(config({ policy: [rule("web")] }));
    assert.equal(await ask(web), "200 first");
    assert.equal(answered(), 2);
    await gateway!.reload(config({ policy: [rule("web")], upstreams: { up: { url: first.url, tryTimeout: "5s" } } }));
    assert.equal(await ask(web), "200 first");
    assert.equal(answered(), 1);
  });

  it("[S-26] a reload between any two turns of a judgement leaves nothing running that it denies", async () => {
    for (const [caller, passes] of [
      [guest, /^403|broken|Error/],
      [web, /^200 whole begun done$/],
    ] as const) {
      for (let turns = 0; turns < 24; turns++) {
        let reloaded: Promise<void> | undefined;
        let armed = false;
        const now = () => {
          if (armed) {
            armed = false;
            let turn = Promise.resolve();
            for (let i = 0; i < turns; i++) turn = turn.then(() => {});
            reloaded = turn.then(() => gateway!.reload(config({ policy: [rule("web")] })));
          }
          return systemClock.now();
        };
        await start(config(), { clock: { ...systemClock, now } });
        const send = createFetch(caller, { peer: GATEWAY });
        await (await send(url())).text();
        open = [];
        armed = true;
        const answer = send(url("/stream")).catch((error: Error) => error);
        await until(() => reloaded !== undefined);
        await reloaded;
        const response = await answer;
        for (const one of open) one.end("done");
        const told = response instanceof Error ? "Error" : `${response.status} ${await bodyOf(response)}`;
        assert.match(told, passes, `after ${turns} turns`);
        await gateway!.close({ deadlineMs: 0 });
      }
    }
  });

  it("[S-8] [S-26] a logger that throws does not keep a stream alive that the new policy denies", async () => {
    let isFull = false;
    const full = () => {
      if (isFull) throw new Error("no space");
    };
    for (const [caller, allowed, body] of [
      [guest, "web", "broken"],
      [guest, "guest", "whole begun done"],
    ] as const) {
      await start(config(), { logger: { ...silentLogger, warn: full, info: full } });
      const answer = await get(caller, "/stream");
      const read = bodyOf(answer);
      isFull = true;
      const plain = { url: "http://192.0.2.1:1", unsafePlainUpstream: true } as const;
      await gateway!.reload(config({ policy: [rule(allowed)], upstreams: { up: { url: first.url }, plain } }));
      for (const one of open) one.end("done");
      assert.equal(await read, body);
      await gateway!.close({ deadlineMs: 0 });
      isFull = false;
    }
  });

  it("what runs through an upstream that is gone ends in peace", async () => {
    await start(config());
    const body = get(web, "/stream").then(bodyOf);
    await until(() => open.length === 1);
    await gateway!.reload(
      config({ upstreams: { other: { url: second.url } }, routes: [{ name: "o", path: "/**", upstream: "other" }] }),
    );
    assert.equal(await ask(web), "200 second");
    open[0]!.end("done");
    assert.equal(await body, "whole begun done");
  });

  it("[S-9] [S-26] [A-15] streams are judged again: the denied one is ended, the allowed one goes on, over HTTP/1.1 and HTTP/2", async () => {
    const log = requestLog();
    await start(config(), { logger: log });
    const token = await world.token("guest");
    const bearer = { headers: { authorization: `Bearer ${token}` } };
    const bodies = [get(web, "/stream/1"), get(guest, "/stream/2"), get(web, "/stream/3", bearer)];
    const answers = await Promise.all(bodies);
    const read = answers.map(bodyOf);
    const session = await http2Client(guest, gateway!.listeners[0]!.port);
    const stream = session.request({ ":path": "/stream/4", ":authority": "a" });
    let code: number | undefined;
    stream.on("error", () => {});
    stream.on("close", () => {
      code = stream.rstCode;
    });
    stream.resume();
    await until(() => open.length === 4);
    await gateway!.reload(
      config({ policy: [rule("web"), { rule: "no-token-of-guest", deny: { ids: [idOf("guest")] } }] }),
    );
    assert.equal(await endOf(read[1]), "broken");
    assert.equal(await endOf(read[2]), "broken");
    await until(() => code !== undefined);
    assert.notEqual(code, 0);
    open[0]!.end("done");
    assert.equal(await read[0], "whole begun done");
    await until(() => log.lines.length === 4);
    const ended = log.lines
      .filter((line) => line.ended !== undefined)
      .map((line) => `${line.peer} ${line.ended} ${line.endedRule}`);
    assert.deepEqual(
      ended.sort(),
      [idOf("guest"), idOf("guest"), idOf("web")].map((peer) => `${peer} policy.denied no-token-of-guest`),
    );
    session.destroy();
  });

  it("[S-9] [S-26] a stream by token ends when its route takes other audiences, over a certificate too", async () => {
    const listen = [
      { name: "edge", address: "127.0.0.1", port: 0, clientCertificate: "none" as const },
      { name: "mesh", address: "127.0.0.1", port: 0 },
    ];
    const routes = (...audience: string[]) => [
      { name: "up", path: "/stream/**", audience, upstream: "up" },
      { name: "same", path: "/stream/same", audience: [GATEWAY], upstream: "up" },
    ];
    await start(config({ listen, routes: routes(GATEWAY) }));
    const bearer = { headers: { authorization: `Bearer ${await world.token("web")}` } };
    const call = createFetch(web, { peer: GATEWAY });
    const at = (i: number, path: string) => `https://127.0.0.1:${gateway!.listeners[i]!.port}/stream/${path}`;
    const asked = [call(at(0, "a"), bearer), call(at(1, "a"), bearer), call(at(1, "a")), call(at(0, "same"), bearer)];
    const bodies = (await Promise.all(asked)).map(bodyOf);
    await until(() => open.length === 4);
    await gateway!.reload(config({ listen, routes: routes("other") }));
    assert.deepEqual(await Promise.all(bodies.slice(0, 2).map(endOf)), ["broken", "broken"]);
    for (const response of open) response.end("done");
    assert.deepEqual(await Promise.all(bodies.slice(2)), ["whole begun done", "whole begun done"]);
  });

  it("[S-9] [S-26] where a route takes no tokens any more, what one claims lets nobody go on, as it lets nobody in", async () => {
    const policy = [
      rule("web", { path: "/stream/claimed", claims: { role: "admin" } }),
      { rule: "plain", allow: { ids: [idOf("web")] }, path: "/stream/plain" },
    ];
    await start(config({ policy }));
    const bearer = { headers: { authorization: `Bearer ${await world.token("web", { role: "admin" })}` } };
    const asked = [get(web, "/stream/claimed", bearer), get(web, "/stream/plain", bearer)];
    const [claimed, plain] = (await Promise.all(asked)).map(bodyOf);
    await until(() => open.length === 2);
    await gateway!.reload(config({ routes: [{ name: "up", path: "/**", upstream: "up" }], policy }));
    assert.equal(await endOf(claimed), "broken");
    assert.equal((await get(web, "/stream/claimed", bearer)).status, 403);
    for (const response of open) response.end("done");
    assert.equal(await plain, "whole begun done");
  });

  it("[S-26] a request that is judged while the policy changes is judged by the new one", async () => {
    const authorizer = await TestAuthorizer.start();
    const waiting = authorizer.hold();
    const rules = [rule("web"), rule("guest")];
    await start(config({ policy: { rules, authorizer: authorizer.at() } }));
    try {
      const asked = [ask(web), ask(guest)];
      await until(() => waiting.length === 2);
      await gateway!.reload(config({ policy: [rule("web")] }));
      for (const question of waiting) question.say(true);
      assert.deepEqual(await Promise.all(asked), ["200 first", "403 policy.default-deny"]);
    } finally {
      await authorizer.close();
    }
  });

  const refusals: [title: string, next: () => GatewayInput, message: RegExp, reason?: string][] = [
    ["no rules", () => config({ policy: { rules: [], files: undefined } as never }), /holds no rule/],
    [
      "a port",
      () => config({ listen: { address: "127.0.0.1", port: 8_443 } }),
      /the same port of listener main.*needs a restart/,
    ],
    [
      "a listener",
      () =>
        config({
          listen: [
            { name: "main", address: "127.0.0.1", port: 0 },
            { name: "b", port: 0 },
          ],
        }),
      /listener b \(new\)/,
    ],
    [
      "client certificates",
      () => config({ listen: { address: "127.0.0.1", port: 0, clientCertificate: "optional" } }),
      /clientCertificate of listener main/,
    ],
    [
      "a first route for WebSocket",
      () => {
        const { routes = [], ...rest } = config();
        return { ...rest, routes: routes.map((route) => ({ ...route, websocket: true as const })) };
      },
      /websocket of routes of listener main/,
    ],
    ["the identity", () => config({ identity: { socket: "unix:///other" } }), /same identity/],
    ["the status port", () => config({ status: { port: 9_464 } }), /same status/],
    ["a fault", () => config({ routes: [] }), /routes: is empty/],
  ];
  for (const [title, next, message, reason] of refusals) {
    it(`[S-26] ${title}: refused, and what was in force stays`, async () => {
      await start(config());
      await assert.rejects(async () => gateway!.reload(next()), refuses(message, reason));
      assert.equal(await ask(guest), "200 first");
      await gateway!.reload(config({ policy: [rule("web")] }));
      assert.equal(await ask(guest), "403 policy.default-deny");
    });
  }

  it("a gateway that drains takes none, and one without a file is told what", async () => {
    await start(config());
    await assert.rejects(gateway!.reload(), refuses(/Expected a configuration/));
    const body = get(web, "/stream").then(bodyOf);
    await until(() => open.length === 1);
    const closing = gateway!.close();
    await assert.rejects(gateway!.reload(config()), (error) => isSpiffeError(error, "ERR_SPIFFE_CLOSED"));
    open[0]!.end("done");
    assert.equal(await body, "whole begun done");
    assert.deepEqual(await closing, { cut: 0 });
  });

  it("drain.delay: /readyz says so at once, and new connections are taken until it is over", async () => {
    let over = () => {};
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) =>
        ms === 77_000 ? new Promise((resolve) => (over = resolve)) : systemClock.sleep(ms, signal),
    };
    await start(config({ drain: { delay: "77s" } }), { clock });
    const closing = gateway!.close();
    assert.deepEqual(gateway!.readiness().reasons, ["draining"]);
    assert.equal(await ask(web), "200 first");
    over();
    await closing;
    await assert.rejects(get(web));
  });
});

describe("a gateway file that is followed", () => {
  const file = () => join(folder, "gateway.yaml");
  const write = (input: object, name = file()) => writeFileSync(name, JSON.stringify(input));
  const following = async (input: object = config()) => {
    write(input);
    await start(await loadGatewayConfig(file()), { file: file() });
  };
  const state = () =>
    (gateway!.report() as { reload: { last?: { result: string; error?: string }; counts: { changed: number } } })
      .reload;

  it("is put in force when it has changed, and judged at once when asked", async () => {
    await following();
    assert.equal(await ask(guest), "200 first");
    write(config({ policy: [rule("web")] }));
    await until(() => state().last?.result === "changed");
    assert.equal(await ask(guest), "403 policy.default-deny");
    write(config());
    await gateway!.reload();
    assert.equal(await ask(guest), "200 first");
    await gateway!.reload();
    assert.equal(state().last?.result, "unchanged");
    assert.equal(state().counts.changed, 2);
  });

  it("[S-26] a broken file changes nothing, says file and line, and is over when it is whole again", async () => {
    await following();
    const whole = JSON.stringify(config());
    writeFileSync(file(), `${whole.slice(0, -20)}\n]`);
    await until(() => state().last?.result === "refused");
    assert.match(state().last!.error!, /gateway\.yaml:\d+:\d+ /);
    assert.match(
      gateway!.readiness().warnings[0]!,
      /^the configuration was not reloaded at \S+Z: \S+gateway\.yaml:\d+:\d+ /,
    );
    assert.equal(gateway!.readiness().ready, true);
    assert.equal(await ask(guest), "200 first");
    await assert.rejects(gateway!.reload(), refuses(/gateway\.yaml:\d+:\d+ /));
    writeFileSync(file(), whole);
    await until(() => state().last?.result === "unchanged");
    assert.deepEqual(gateway!.readiness().warnings, []);
    await assert.rejects(
      async () => {
        write(config({ listen: { address: "127.0.0.1", port: 1 } }));
        await gateway!.reload();
      },
      refuses(/needs a restart/),
    );
    assert.equal(await ask(guest), "200 first");
  });

  it("[S-26] files of the policy: a new one, one by rename, a symlink swap, one cut short, all gone", async () => {
    const teams = join(folder, "teams");
    mkdirSync(join(folder, "v1"));
    mkdirSync(join(folder, "v2"));
    const policyFile = (name: string, end = "end: true\n") =>
      `rules:\n- { rule: ${name}, allow: { ids: ["${idOf(name)}"] } }\n${end}`;
    writeFileSync(join(folder, "v1/a.yaml"), policyFile("web"));
    writeFileSync(join(folder, "v2/a.yaml"), policyFile("web"));
    writeFileSync(join(folder, "v2/b.yaml"), policyFile("guest"));
    symlinkSync("v1", teams);
    await following(
      config({ policy: { files: [{ glob: "teams/*.yaml", idPrefixes: [idOf("web"), idOf("guest")] }] } }),
    );
    assert.equal(await ask(guest), "403 policy.default-deny");

    symlinkSync("v2", join(folder, "next"));
    renameSync(join(folder, "next"), teams);
    await until(() => state().last?.result === "changed");
    assert.equal(await ask(guest), "200 first");

    writeFileSync(join(folder, "v2/b.yaml.new"), policyFile("guest", ""));
    renameSync(join(folder, "v2/b.yaml.new"), join(folder, "v2/b.yaml"));
    await assert.rejects(gateway!.reload(), refuses(/b\.yaml to end with "end: true"/, "policy.truncated"));
    writeFileSync(join(folder, "v2/b.yaml"), "rules: []\nend: true\n");
    await gateway!.reload();
    assert.equal(await ask(guest), "403 policy.default-deny");
    for (const name of ["a", "b"]) rmSync(join(folder, `v2/${name}.yaml`));
    await assert.rejects(gateway!.reload(), refuses(/no policy file has such a name/));
    assert.equal(await ask(web), "200 first");
    writeFileSync(join(folder, "v2/a.yaml"), policyFile("web"));
    await until(() => state().last?.result === "changed");
    assert.equal(await ask(web), "200 first");
  });

  it("[S-26] [A-16] a policy file cut at every byte, emptied, gone or a folder, while requests run: the old one holds", async () => {
    const text = (more: string) => `rules:
- { rule: web, allow: { ids: ["${idOf("web")}"] } }
${more}- { rule: no-secret, deny: { ids: ["${idOf("web")}"] }, path: /secret }
end: true
`;
    const next = text(`- { rule: guest, allow: { ids: ["${idOf("guest")}"] } }\n`);
    const policy = join(folder, "policy.yaml");
    writeFileSync(policy, text(""));
    write(config({ policy: { files: [{ glob: "policy.yaml", idPrefixes: [idOf("web"), idOf("guest")] }] } }));
    // no test waits for real time to pass where files are known to stand still
    const clock: Clock = {
      ...systemClock,
      sleep: (ms, signal) => (ms === 250 ? Promise.resolve() : systemClock.sleep(ms, signal)),
    };
    const watched = join(folder, "gateway.yaml");
    await start(await loadGatewayConfig(watched), { file: watched, clock });
    const token = { headers: { authorization: `Bearer ${await world.token("web")}` } };
    let over = false;
    let asked = 0;
    const hold = async (who: Changeable, path: string, expected: number, init?: RequestInit) => {
      const seen = new Set<number>();
      const call = createFetch(who, { peer: GATEWAY });
      while (!over && gateway !== undefined) {
        const response = await call(url(path), init);
        await response.text();
        asked++;
        seen.add(response.status);
      }
      assert.deepEqual([...seen], [expected], `${path} as ${who.x509.x509Svid().id.uri}`);
    };
    const requests = Promise.all([
      hold(web, "/", 200),
      hold(web, "/secret", 403),
      hold(guest, "/", 403),
      hold(guest, "/secret", 403, token),
    ]);
    const broken: (() => void)[] = [];
    for (let length = 0; length < next.length - 1; length++) {
      broken.push(() => writeFileSync(policy, next.slice(0, length)));
    }
    broken.push(
      () => rmSync(policy),
      () => mkdirSync(policy),
    );
    for (const [i, make] of broken.entries()) {
      make();
      await assert.rejects(gateway!.reload(), (error) => isSpiffeError(error, "ERR_SPIFFE_CONFIG"), `state ${i}`);
    }
    assert.ok(asked > 8, `${asked} requests`);
    over = true;
    await requests;
    rmSync(policy, { recursive: true });
    writeFileSync(policy, next);
    await gateway!.reload();
    assert.deepEqual(await Promise.all([ask(web), ask(web, "/secret"), ask(guest)]), [
      "200 first",
      "403 policy.denied",
      "200 first",
    ]);
  });

  it("[S-26] a state is taken only after it stood still for 250 ms", async () => {
    write(config());
    const loaded = await loadGatewayConfig(file());
    const clock = new ManualClock();
    const taken: readonly string[][] = [];
    const stop = new AbortController();
    const reloader = new Reloader({
      file: file(),
      first: readingOf(loaded),
      apply: async ({ policy }) => {
        (taken as string[][]).push([...policy.rules]);
        return { ended: 0 };
      },
      clock,
      logger: silentLogger,
      signal: stop.signal,
    });
    const settle = () => new Promise((resolve) => setTimeout(resolve, 10));
    const asked = reloader.ask();
    // never the same for a quarter of a second: never taken
    for (let i = 0; i < 8; i++) {
      write(config({ policy: [rule(`r${i}`)] }));
      await settle();
      await clock.advance(240);
    }
    assert.deepEqual(taken, []);
    let over = false;
    void asked.then(() => {
      over = true;
    });
    await until(async () => {
      if (!over) await clock.advance(250);
      return over;
    });
    assert.equal(await asked, "changed");
    assert.deepEqual(taken, [["r7"]]);
    stop.abort();
    await assert.rejects(reloader.ask(), (error) => isSpiffeError(error, "ERR_SPIFFE_CLOSED"));
  });
});
