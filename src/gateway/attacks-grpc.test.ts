/** Live streams of a real gRPC client through the gateway, when the trust ends that they rest on. */
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import * as grpc from "@grpc/grpc-js";
import { ManualClock } from "../authority/testing.ts";
import { grpcCredentials } from "../tls/index.ts";
import type { GatewayInput } from "./config-types.ts";
import { createGateway } from "./gateway.ts";
import type { Gateway } from "./gateway-types.ts";
import { type Changeable, GATEWAY, idOf, until, World } from "./world.testing.ts";

const MINUTE_MS = 60_000;
const same = (bytes: Buffer) => bytes;
const shape = {
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
} as const;
const ORDERS: grpc.ServiceDefinition = {
  watch: { path: "/orders.Orders/Watch", requestStream: false, responseStream: true, ...shape },
  chat: { path: "/orders.Orders/Chat", requestStream: true, responseStream: true, ...shape },
};

/** The side of the upstream: one call, as long as somebody is there. */
interface Served {
  readonly who: string;
  readonly call: grpc.ServerWritableStream<Buffer, Buffer> | grpc.ServerDuplexStream<Buffer, Buffer>;
  cancelled: boolean;
}

/** One caller with a stream of the server and one of both sides. */
interface Caller {
  readonly name: string;
  /** Whether messages pass on both streams now. */
  speaks(): Promise<void>;
  /** Codes that its calls have ended with. */
  readonly codes: number[];
}

let world: World;
let server: grpc.Server;
let upstream: string;
const served: Served[] = [];
const left: (() => unknown)[] = [];

function serve(call: Served["call"]): void {
  const one: Served = { who: String(call.metadata.get("x-spiffe-id")[0]), call, cancelled: false };
  served.push(one);
  call.on("cancelled", () => {
    one.cancelled = true;
  });
  call.on("error", () => {});
}

/** The calls of a caller that its server still has. */
const held = (id: string): Served[] => served.filter(({ who, cancelled }) => who === id && !cancelled);

const config = (...denied: string[]): GatewayInput => ({
  status: { port: 0 },
  listen: { address: "127.0.0.1", port: 0 },
  upstreams: { orders: { url: upstream, protocol: "h2" } },
  routes: [{ name: "orders", path: "/orders.Orders/*", upstream: "orders" }],
  policy: [
    { rule: "all", allow: { trustDomains: ["example.org", "partner.example"] } },
    ...(denied.length === 0 ? [] : [{ rule: "no-more", deny: { ids: denied } }]),
  ],
  limits: { idle: "24h" },
  accessLog: false,
});

/** Opens both kinds of streams, and waits until the server has them. */
async function open(gateway: Gateway, identity: Changeable): Promise<Caller> {
  const name = identity.x509.x509Svid().id.uri;
  const credentials = grpcCredentials(grpc, identity, { peer: GATEWAY });
  const address = `127.0.0.1:${gateway.listeners[0]!.port}`;
  const client = new grpc.Client(address, credentials, { "grpc.use_local_subchannel_pool": 1 });
  left.push(() => client.close());
  const codes: number[] = [];
  const got = { watch: "", chat: "" };
  const watch = client.makeServerStreamRequest("/orders.Orders/Watch", same, same, Buffer.from("all"));
  const chat = client.makeBidiStreamRequest("/orders.Orders/Chat", same, same);
  for (const [kind, call] of Object.entries({ watch, chat })) {
    call.on("data", (message: Buffer) => {
      got[kind as keyof typeof got] += String(message);
    });
    call.on("error", () => {});
    call.on("status", ({ code }: grpc.StatusObject) => void codes.push(code));
  }
  const speaks = async () => {
    got.watch = got.chat = "";
    for (const { call } of held(name)) if (!("read" in call)) call.write(Buffer.from("news"));
    chat.write(Buffer.from("hello"));
    await until(() => got.watch === "news" && got.chat === "HELLO");
  };
  chat.write(Buffer.from("first"));
  await until(() => held(name).length === 2 && got.watch === "begun" && got.chat === "FIRST");
  return { name, speaks, codes };
}

/** A gateway with its clock and identity, and callers of it. */
async function begin(): Promise<{ clock: ManualClock; identity: Changeable; gateway: Gateway }> {
  served.length = 0;
  const clock = new ManualClock();
  const identity = await world.identity("gateway");
  const gateway = await createGateway(config(), { workload: identity, clock });
  left.push(() => gateway.close({ deadlineMs: 0 }));
  return { clock, identity, gateway };
}

/** Both streams are over, on either side of the gateway, and not as if they were whole. */
async function expectEnded(caller: Caller): Promise<void> {
  await until(() => caller.codes.length === 2 && held(caller.name).length === 0);
  assert.ok(!caller.codes.includes(grpc.status.OK), `${caller.name}: ${caller.codes}`);
}

/** Both streams go on. */
async function expectAlive(caller: Caller): Promise<void> {
  await caller.speaks();
  assert.deepEqual(caller.codes, []);
}

describe("streams of a gRPC client through the gateway", () => {
  before(async () => {
    world = await World.create();
    server = new grpc.Server();
    server.addService(ORDERS, {
      watch: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        serve(call);
        call.write(Buffer.from("begun"));
      },
      chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        serve(call);
        call.on("data", (message: Buffer) => void call.write(Buffer.from(String(message).toUpperCase())));
        call.on("end", () => call.end());
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    upstream = `http://127.0.0.1:${port}`;
  });
  after(async () => {
    for (const end of left) await end();
    server?.forceShutdown();
  });

  it("[S-9] [A-15] end with the certificate of their caller, and another's go on", async () => {
    const { clock, gateway } = await begin();
    const soon = await world.identity("soon");
    const notAfter = new Date(clock.now() + 3 * MINUTE_MS);
    await soon.update({ svid: await world.ca.issue({ id: idOf("soon"), notAfter }) });
    const [ending, staying] = [await open(gateway, soon), await open(gateway, await world.identity("web"))];
    await clock.advance(2 * MINUTE_MS);
    await expectAlive(ending);
    // a certificate ends on a whole second
    await clock.advance(MINUTE_MS + 1_000);
    await expectEnded(ending);
    await expectAlive(staying);
  });

  it("[S-9] [A-15] end when the bundle of their caller's trust domain is removed, and others go on", async () => {
    const { clock, identity, gateway } = await begin();
    const partner = await world.identity("web", "partner.example");
    const [ending, staying] = [await open(gateway, partner), await open(gateway, await world.identity("web"))];
    await clock.advance(5_000);
    await expectAlive(ending);
    await identity.update({ bundles: [world.ca.x509Bundle()] });
    await clock.advance(1_000);
    await expectEnded(ending);
    await expectAlive(staying);
  });

  it("[S-9] [S-10] [A-15] end when the gateway's own identity is revoked; with a new one there are new streams", async () => {
    const { clock, identity, gateway } = await begin();
    const web = await world.identity("web");
    const ending = await open(gateway, web);
    const svid = identity.x509.x509Svid();
    await identity.update({ bundles: [world.ca.x509Bundle(), world.partnerCa.x509Bundle()] });
    await clock.advance(1_000);
    await expectAlive(ending);
    await identity.update({ svid: null });
    await clock.advance(1_000);
    await expectEnded(ending);
    await identity.update({ svid });
    await expectAlive(await open(gateway, web));
  });

  it("[S-9] [S-26] [A-15] end when a new policy denies their caller, and another's go on", async () => {
    const { clock, gateway } = await begin();
    const [guest, web] = [await world.identity("guest"), await world.identity("web")];
    const [ending, staying] = [await open(gateway, guest), await open(gateway, web)];
    await gateway.reload(config(idOf("nobody")));
    await clock.advance(1_000);
    await expectAlive(ending);
    await gateway.reload(config(idOf("guest")));
    await clock.advance(1_000);
    await expectEnded(ending);
    await expectAlive(staying);
    assert.equal(held(idOf("guest")).length, 0);
  });
});
