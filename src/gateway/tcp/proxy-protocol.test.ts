/** PROXY headers through the gateway: in from a load balancer, out to an upstream for bytes. */
import assert from "node:assert/strict";
import { connect as dialPlain } from "node:net";
import type { Duplex } from "node:stream";
import { after, before, describe, it } from "node:test";
import { PP2, type ProxyHeader, readProxyHeader, writeProxyHeader } from "../../encoding/proxy-protocol.ts";
import { connect } from "../../tls/index.ts";
import { createGateway } from "../gateway.ts";
import {
  type Changeable,
  closeUpstreams,
  countingUpstream,
  GATEWAY,
  idOf,
  requestLog,
  until,
  valuesOf,
  World,
} from "../world.testing.ts";
import { ByteServer, connectionLog, payload, whole } from "./bytes.testing.ts";

let world: World;
let web: Changeable;

before(async () => {
  world = await World.create();
  web = await world.identity("web");
});
after(async () => {
  await closeUpstreams();
  await ByteServer.closeAll();
});

const HERE = { address: "127.0.0.1", port: 0, proxyProtocol: { from: ["127.0.0.1"] } };
const policy = [{ rule: "web", allow: { ids: [idOf("web")] } }];

/** A verified connection behind a header. */
async function behind(address: string, port: number, alpn: string[] = []): Promise<Duplex> {
  const tcp = dialPlain(port, "127.0.0.1");
  tcp.on("error", () => {});
  tcp.write(writeProxyHeader({ address, port: 4_711 }, { address: "192.0.2.1", port: 443 }));
  const { socket } = await connect(web, { socket: tcp, peer: GATEWAY, alpn });
  socket.allowHalfOpen = true;
  return socket;
}

describe("the address behind a load balancer", () => {
  it("is what the log and x-forwarded-for say of a request", async () => {
    const up = await countingUpstream();
    const log = requestLog();
    await using gateway = await createGateway(
      {
        status: { port: 0 },
        listen: HERE,
        upstreams: { up: { url: up.url } },
        routes: [{ name: "up", path: "/**", upstream: "up" }],
        policy,
      },
      { workload: await world.identity("gateway"), logger: log },
    );
    const socket = await behind("192.0.2.7", gateway.listeners[0]!.port, ["http/1.1"]);
    const heard = whole(socket);
    socket.write("GET / HTTP/1.1\r\nhost: up\r\nx-forwarded-for: 6.6.6.6\r\nconnection: close\r\n\r\n");
    assert.match((await heard).bytes.toString("latin1"), /^HTTP\/1\.1 200/);
    socket.destroy();
    assert.deepEqual(valuesOf(up.seen[0]!.raw, "x-forwarded-for"), ["192.0.2.7"]);
    await until(() => log.lines.length === 1);
    assert.equal(log.lines[0]!.address, "192.0.2.7");
    await up.close();
  });

  it("goes on to an upstream for bytes with the caller's SPIFFE ID, before its bytes", async () => {
    const heard: Promise<{ bytes: Buffer }>[] = [];
    const up = await new ByteServer((socket) => {
      heard.push(whole(socket));
      socket.on("end", () => socket.end());
    }).start();
    const log = connectionLog();
    await using gateway = await createGateway(
      {
        status: { port: 0 },
        listen: { name: "db", protocol: "tcp", ...HERE },
        upstreams: { db: { url: up.url, proxyProtocol: "v2" } },
        routes: [{ name: "db", listen: ["db"], upstream: "db" }],
        policy,
      },
      { workload: await world.identity("gateway"), logger: log },
    );
    const socket = await behind("2001:db8::7", gateway.listeners[0]!.port);
    const sent = payload(1, 4_000);
    socket.end(sent);
    await until(() => heard.length === 1);
    const { bytes } = await heard[0]!;
    const verdict = readProxyHeader(bytes);
    assert.ok(verdict.ok === true && verdict.value !== undefined);
    const header: ProxyHeader = verdict.value;
    assert.deepEqual(header.source, { address: "2001:db8::7", port: 4_711 });
    const text = (type: number) => new TextDecoder().decode(header.tlvs.find((tlv) => tlv.type === type)?.value);
    assert.equal(text(PP2.spiffeId), idOf("web"));
    assert.ok(bytes.subarray(header.length).equals(sent));
    await until(() => log.lines.length === 1);
    assert.equal(text(PP2.uniqueId), log.lines[0]!.connectionId);
    assert.equal(log.lines[0]!.address, "2001:db8::7");
    assert.equal(log.lines[0]!.bytesIn, 4_000);
    await up.close();
  });
});
