/** `spiffe()` and `authorize()` under `hono/combine`: refused by throwing before `next`, variables only on success. */
import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { Hono, type MiddlewareHandler } from "hono";
import { every, except, some } from "hono/combine";
import { HTTPException } from "hono/http-exception";
import { GATEWAY, idOf, World } from "../world.testing.ts";
import { challenge } from "./authenticate.ts";
import { authorize, spiffe } from "./index.ts";
import { asPeer } from "./peer-env.ts";

const WEB = idOf("web");
let world: World;
let workload: Awaited<ReturnType<World["identity"]>>;
before(async () => {
  world = await World.create();
  workload = await world.identity("gateway");
});

/** Behind somebody else's server on loopback, where a token may travel. */
const local = { incoming: { socket: { remoteAddress: "127.0.0.1" } } };
const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
const door = (audience = GATEWAY) => spiffe(workload, { jwt: { audience }, logger: { error() {} } });

/** Answers status and who the handler saw. */
async function ask(
  middleware: MiddlewareHandler,
  init: RequestInit = {},
  env: object = local,
  path = "/",
): Promise<string> {
  const app = new Hono<{ Variables: { peer?: { id: unknown } } }>()
    .use(middleware)
    .get("*", (c) => c.text(String(c.var.peer?.id)));
  const answer = await app.request(path, init, env);
  return answer.status === 200 ? `200 ${await answer.text()}` : String(answer.status);
}

describe("[S-18] with hono/combine", () => {
  it("a refusal is thrown before next(), and leaves no peer behind", async () => {
    let nexts = 0;
    const set: unknown[] = [];
    const context = (token: string) => ({
      env: local,
      req: { url: "http://localhost/", raw: new Request("http://localhost/", bearer(token)) },
      set: (...entry: unknown[]) => void set.push(entry),
    });
    const next = async () => void nexts++;
    const run = (token: string) => door()(context(token) as never, next);
    for (const bad of ["abc", await world.token("web", { aud: ["other"] }), "a b"]) {
      await assert.rejects(Promise.resolve(run(bad)), (error: unknown) => error instanceof HTTPException);
    }
    assert.deepEqual([nexts, set], [0, []]);
    await run(await world.token("web"));
    assert.deepEqual([nexts, set.length], [1, 1]);
  });

  it("some(): the second door is tried where the first refuses, and sees nothing of it", async () => {
    const either = () => some(door("a"), door("b"));
    assert.equal(await ask(either(), bearer(await world.token("web", { aud: ["b"] }))), `200 ${WEB}`);
    assert.equal(await ask(either(), bearer(await world.token("web", { aud: ["a"] }))), `200 ${WEB}`);
    assert.equal(await ask(either(), bearer(await world.token("web", { aud: ["c"] }))), "401");
    assert.equal(await ask(either()), "401");
    const open = some(door(), (_, next) => next());
    assert.equal(await ask(open, bearer(await world.token("web", { aud: ["c"] }))), "200 undefined");
    assert.equal(await ask(open, bearer(await world.token("web"))), `200 ${WEB}`);
  });

  it("every(): all of them, in order", async () => {
    const both = () => every(door(), authorize({ ids: [WEB] }));
    assert.equal(await ask(both(), bearer(await world.token("web"))), `200 ${WEB}`);
    assert.equal(await ask(both(), bearer(await world.token("cron"))), "403");
    assert.equal(await ask(both()), "401");
    assert.equal(await ask(both(), {}, asPeer(WEB)), `200 ${WEB}`);
    assert.equal(await ask(both(), {}, asPeer(idOf("cron"))), "403");
  });

  it("some() of every(): a caller that one branch knows does not pass for the other", async () => {
    const branch = (audience: string, id: string) => every(door(audience), authorize({ ids: [idOf(id)] }));
    const either = () => some(branch("a", "web"), branch("b", "cron"));
    const as = async (name: string, aud: string[]) => ask(either(), bearer(await world.token(name, { aud })));
    assert.equal(await as("web", ["a"]), `200 ${WEB}`);
    assert.equal(await as("cron", ["b"]), `200 ${idOf("cron")}`);
    // known at the first door, and allowed at the second alone, for which the token is not
    assert.equal(await as("cron", ["a"]), "401");
    assert.equal(await as("web", ["b"]), "403");
  });

  it("except(): only what is named goes without", async () => {
    const guarded = () => except("/healthz", door());
    assert.equal(await ask(guarded(), {}, local, "/healthz"), "200 undefined");
    for (const path of ["/", "/healthz/x", "/Healthz", "/healthzz"]) {
      assert.equal(await ask(guarded(), {}, local, path), "401", path);
      assert.equal(await ask(guarded(), bearer(await world.token("web")), local, path), `200 ${WEB}`, path);
    }
  });
});

describe("[S-18] challenges of RFC 6750", () => {
  it("name error and reason, quotes and backslashes escaped, nothing but visible characters", () => {
    assert.equal(
      challenge("invalid_token", "jwt.expired"),
      'Bearer error="invalid_token", error_description="jwt.expired"',
    );
    assert.equal(
      challenge("invalid_request", 'a "b" \\ \r\nSet-Cookie: x\u00e9'),
      'Bearer error="invalid_request", error_description="a \\"b\\" \\\\ ??Set-Cookie: x?"',
    );
  });

  it("go with 400 and 401 of tokens, without scope; without credentials no error is named", async () => {
    const app = new Hono().use(door()).get("/", (c) => c.text("ok"));
    const of = async (init: RequestInit) => {
      const answer = await app.request("/", init, local);
      return `${answer.status} ${answer.headers.get("www-authenticate")}`;
    };
    assert.equal(await of({}), '401 Bearer realm="spiffe"');
    assert.equal(await of({ headers: { authorization: "Basic eA==" } }), '401 Bearer realm="spiffe"');
    assert.equal(await of(bearer("abc")), '401 Bearer error="invalid_token", error_description="jwt.malformed"');
    assert.equal(
      await of(bearer("a b")),
      '400 Bearer error="invalid_request", error_description="The Authorization field does not hold one bearer token"',
    );
    assert.equal(await of(bearer(await world.token("web"))), "200 null");
  });
});
