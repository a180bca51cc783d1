/** A Workload API whose whole content a test writes: certificates, bundles and tokens of any kind, pushed as they change. */
import type { HandlerContext } from "@connectrpc/connect";
import { Change, turns } from "../../src/authority/change.ts";
import { signTestJwt, type TestCa, type TestJwtKey, type TestSvid } from "../../src/authority/testing.ts";
import { eventually } from "../support/eventually.ts";
import { WorkloadServer, type X509Answer } from "../support/workload-server.ts";

/** One X.509-SVID as the Workload API carries it. */
export type WireSvid = NonNullable<X509Answer["svids"]>[number];

/** Everything the agent says. */
export interface Content {
  x509: X509Answer;
  /** JWK sets by trust domain name, as text. */
  jwks: Readonly<Record<string, string>>;
}

/** The wire form of an issued SVID. */
export function wire(id: string, svid: TestSvid, ...anchors: TestCa[]): WireSvid {
  const bundle = Buffer.concat(anchors.map((ca) => ca.rootDer));
  return { spiffeId: id, x509Svid: svid.chainDer, x509SvidKey: svid.privateKeyPkcs8, bundle, hint: "" };
}

/** A JWK set of these keys, each with `use: jwt-svid` unless said. */
export function jwkSet(...keys: (TestJwtKey | object)[]): string {
  return JSON.stringify({ keys: keys.map((key) => ("jwk" in key ? { ...key.jwk, use: "jwt-svid" } : key)) });
}

export class Agent {
  /** Requests for tokens, in order. */
  readonly asked: { audience: string[]; spiffeId: string }[] = [];
  readonly #change = new Change();
  #content: Content;
  #version = 0;
  /** The version of each part that has gone out last. */
  readonly #sent = { x509: 0, jwks: 0 };
  #server!: WorkloadServer;

  private constructor(content: Content) {
    this.#content = content;
  }

  /** @param tokens the key that tokens are signed with, and whose they are, the first being the default identity */
  static async start(content: Content, tokens?: { key: TestJwtKey; ids: readonly string[] }): Promise<Agent> {
    const agent = new Agent(content);
    agent.#server = await WorkloadServer.start({
      fetchX509SVID: (_, context) => agent.#stream(context, "x509", ({ x509 }) => x509),
      fetchJWTBundles: (_, context) => agent.#stream(context, "jwks", ({ jwks }) => ({ bundles: bytesOf(jwks) })),
      async fetchJWTSVID({ audience, spiffeId }) {
        agent.asked.push({ audience, spiffeId });
        const ids = (tokens?.ids ?? []).filter((id) => spiffeId === "" || id === spiffeId);
        const sign = async (id: string) => {
          const svid = await signTestJwt({ key: tokens!.key, claims: { sub: id, aud: audience } });
          return { spiffeId: id, svid, hint: id.slice(id.lastIndexOf("/") + 1) };
        };
        return { svids: await Promise.all(ids.map(sign)) };
      },
    });
    return agent;
  }

  get socket(): string {
    return this.#server.socket;
  }

  /** Replaces parts of the content; resolves when that has been sent, so that what is said next is a message of its own. */
  async say(content: Partial<Content>): Promise<void> {
    this.#content = { ...this.#content, ...content };
    const version = ++this.#version;
    this.#change.notify();
    for (const part of Object.keys(content) as (keyof Content)[])
      await eventually(() => this.#sent[part] >= version, `the sending of ${part}`);
  }

  close(): Promise<void> {
    return this.#server.close();
  }

  async *#stream<T>(context: HandlerContext, part: keyof Content, say: (content: Content) => T): AsyncGenerator<T> {
    for await (const _ of turns(this.#change, context.signal)) {
      const version = this.#version;
      yield say(this.#content);
      this.#sent[part] = version;
    }
  }
}

function bytesOf(jwks: Content["jwks"]): Record<string, Uint8Array> {
  const bundles = Object.entries(jwks).map(([name, text]) => [`spiffe://${name}`, new TextEncoder().encode(text)]);
  return Object.fromEntries(bundles);
}
