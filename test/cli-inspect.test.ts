/** `spiffe-edge inspect`: what is shown, what is verified, what is said of the rest, and what never is shown. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as tcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { createServer, type TlsOptions } from "node:tls";
import {
  Authority,
  signTestJwt,
  TestCa,
  type TestJwtKey,
  type TestJwtOptions,
  type TestSvid,
  testJwtBundle,
  testJwtKey,
} from "../src/authority/testing.ts";
import { SpiffeBundle } from "../src/bundle/index.ts";
import { type InspectOptions, inspect } from "../src/cli/inspect.ts";
import { TrustDomain } from "../src/id/index.ts";
import { HOME, makeWorld, PARTNER, type World } from "../src/tls/wrong-peers.testing.ts";
import { onThisRuntime, Program, spiffeEdge } from "./support/programs.ts";

const WEB = `spiffe://${HOME}/web`;
const AUDIENCE = "orders";
/** Every control and format character but the line end. */
const CONTROL = /[^\n\P{Cc}]|\p{Cf}/u;

let folder: string;
let home: TestCa;
let svid: TestSvid;
let key: TestJwtKey;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "in-"));
  home = await TestCa.create({ trustDomain: HOME });
  svid = await (await home.intermediate()).issue({ id: WEB });
  key = await testJwtKey();
});

after(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

/** The bundle of home, as a SPIFFE bundle in a file. */
function bundleFile(): string {
  const domain = TrustDomain.parse(HOME);
  const bundle = SpiffeBundle.of(domain, { x509: home.x509Bundle(), jwt: testJwtBundle(domain, key), sequence: 7n });
  return file("bundle.json", bundle.toJson());
}

/** Inspects in this process; gives all lines, the last of them, and the code. */
async function look(what: string, options: Partial<InspectOptions> = {}) {
  const { lines, code } = await inspect(what, { timeout: 60_000, ...options });
  const text = lines.join("\n");
  assert.doesNotMatch(text, CONTROL);
  return { text, last: lines.at(-1) ?? "", code };
}

async function assertUsage(what: string, words: RegExp, options: Partial<InspectOptions> = {}): Promise<void> {
  await assert.rejects(look(what, options), (error: Error & { code?: string }) => {
    assert.equal(error.code, "ERR_SPIFFE_USAGE", error.message);
    assert.match(error.message, words);
    return true;
  });
}

describe("spiffe-edge inspect: certificates", () => {
  it("a chain as PEM or DER, verified with a bundle as JSON, PEM or DER", async () => {
    const bundles = [bundleFile(), file("ca.pem", home.certPem), file("ca.der", home.rootDer)];
    for (const what of [file("svid.pem", svid.certPem), file("svid.der", svid.chainDer)]) {
      for (const bundle of bundles) {
        const { text, last, code } = await look(what, { bundle });
        assert.match(
          last,
          new RegExp(`^verified {3}${WEB} by spiffe://${HOME} in the bundle of ${HOME}, until \\S+Z$`),
        );
        assert.equal(code, 0);
        assert.match(text, /^certificate 0\n {2}subject {3}\(empty\)\n/m);
        assert.match(text, /^certificate 1\n[\s\S]*^ {2}usage +keyCertSign, cRLSign; a CA$/m);
        assert.match(text, /^ {2}key +EC P-256, signed with ecdsa SHA-256$/m);
      }
    }
  });

  it("without any bundle it is shown, and said that nobody verified it", async () => {
    const { text, last, code } = await look(file("svid.pem", svid.certPem));
    assert.match(text, new RegExp(`names +URI ${WEB}`));
    assert.match(last, /^not verified: no bundle; set SPIFFE_ENDPOINT_SOCKET, or give --socket or --bundle$/);
    assert.equal(code, 0);
  });

  it("what breaks a rule is refused, with and without a bundle", async () => {
    const foreign = await TestCa.create({ trustDomain: HOME });
    const cases: [name: string, bad: TestSvid, reason: string, form: boolean][] = [
      ["foreign", await foreign.issue({ id: WEB }), "x509.no-path", false],
      ["spoilt", await home.issue({ id: WEB, tamper: "signature" }), "x509.signature", false],
      ["expired", await home.issue({ id: WEB, notAfter: new Date(Date.now() - 60_000) }), "x509.expired", false],
      ["partner", await home.issue({ id: `spiffe://${PARTNER}/web` }), "x509.no-bundle", false],
      ["no-id", await home.issue({ uriSans: [] }), "x509.no-uri-san", true],
      ["two-ids", await home.issue({ uriSans: [WEB, `${WEB}2`] }), "x509.several-uri-sans", true],
      ["root", await home.issue({ id: `spiffe://${HOME}` }), "x509.leaf-root-path", true],
      ["usage", await home.issue({ id: WEB, keyUsage: null }), "x509.leaf-key-usage", true],
    ];
    const bundle = bundleFile();
    for (const [name, { certPem }, reason, form] of cases) {
      const what = file(`${name}.pem`, certPem);
      const judged = await look(what, { bundle });
      assert.deepEqual([judged.code, judged.last.split(":")[0]], [1, `refused    ${reason}`], name);
      const alone = await look(what);
      assert.deepEqual([alone.code, alone.last.startsWith("refused")], [form ? 1 : 0, form], name);
    }
    assert.match((await look(join(folder, "expired.pem"), { bundle })).text, /valid .*, ended 1 min( \d s)? ago$/m);
  });

  it("a private key beside them is told and never shown", async () => {
    const own = await look(file("own.pem", svid.keyPem + svid.certPem));
    assert.match(own.text, /^private key {2}not shown; it is that of certificate 0$/m);
    const other = await look(file("other.pem", svid.certPem + (await home.issue({ id: WEB })).keyPem));
    assert.match(other.text, /^private key {2}not shown; it is not that of certificate 0$/m);
    const [, secret = ""] = svid.keyPem.split("\n");
    assert.ok(secret.length > 40 && !own.text.includes(secret));
    const alone = await look(file("key.pem", svid.keyPem));
    assert.deepEqual([alone.code, alone.last.split(":")[0]], [1, "refused    x509.chain-empty"]);
    assert.ok(!alone.text.includes(secret));
  });

  it("certificates of CAs alone are shown as what they are", async () => {
    const { text, last, code } = await look(file("ca.pem", home.certPem));
    assert.match(text, /a CA$/m);
    assert.match(last, /^not verified: these are certificates of CAs; a bundle is trusted for where it came from$/);
    assert.equal(code, 0);
  });

  it("names that a terminal would act on are escaped", async () => {
    const odd = await home.issue({ uriSans: [`${WEB}\x1b[2J`], subject: { CN: "a\x1b]0;x\x07\u202eb" } });
    const { text, code } = await look(file("odd.pem", odd.certPem));
    assert.match(text, /\\u\{1b\}/);
    assert.equal(code, 1);
  });
});

describe("spiffe-edge inspect: whose bundle it is", () => {
  it("[X509-36] comes from the bundle or the command line, never from what is verified", async () => {
    const what = file("svid.pem", svid.certPem);
    const anonymous = await TestCa.create({ trustDomain: HOME, uriSans: [] });
    const issued = file("anonymous.pem", (await anonymous.issue({ id: WEB })).certPem);
    const bundle = file("anonymous-ca.pem", anonymous.certPem);
    await assertUsage(issued, /Nothing in .* says whose bundle it is/, { bundle });
    assert.equal((await look(issued, { bundle, trustDomain: HOME })).code, 0);
    const elsewhere = await look(issued, { bundle, trustDomain: PARTNER });
    assert.match(elsewhere.last, /^refused {4}x509\.no-bundle: /);
    await assertUsage(what, /a trust domain after --trust-domain/, { bundle: bundleFile(), trustDomain: "A b" });
    const claimed = await look(what, { bundle: bundleFile(), trustDomain: PARTNER });
    assert.match(claimed.last, /^refused {4}x509\.no-bundle: /);
  });

  it("a bundle that is none is a wrong command line", async () => {
    const what = file("svid.pem", svid.certPem);
    await assertUsage(what, /ENOENT/, { bundle: join(folder, "none.json") });
    await assertUsage(what, /Expected a bundle in/, { bundle: file("empty.json", "{}") });
    await assertUsage(what, /Expected a bundle in/, { bundle: file("key-only.pem", svid.keyPem) });
  });

  it("a document is shown with what of it is left out", async () => {
    const { keys } = JSON.parse(SpiffeBundle.of(HOME, { x509: home.x509Bundle() }).toJson()) as { keys: object[] };
    const odd = { ...key.jwk, use: "jwt-svid", kid: "a\u001b[2Jb" };
    const document = {
      keys: [...keys, odd, { kty: "XX", use: "jwt-svid" }],
      spiffe_sequence: 7,
      spiffe_refresh_hint: 300,
    };
    const { text, last, code } = await look(file("doc.json", JSON.stringify(document)));
    assert.match(text, new RegExp(`^bundle {5}by its authorities of ${HOME}, sequence 7, refresh hint 5 min$`, "m"));
    assert.match(text, new RegExp(`^x509-svid {2}spiffe://${HOME} {2}serial`, "m"));
    assert.match(text, /^jwt-svid {3}kid a\\u\{1b\}\[2Jb {2}ec P-256$/m);
    assert.match(text, /^left out {3}keys\[2\]: /m);
    assert.deepEqual([code, last.startsWith("not verified:")], [0, true]);
    assert.match((await look(file("none.json", '{"keys":[]}'))).text, /^empty {6}nobody is trusted by it$/m);
    assert.equal((await look(file("bad.json", '{"keys":1}'))).code, 1);
  });
});

describe("spiffe-edge inspect: tokens", () => {
  const token = ({ claims, ...more }: Partial<TestJwtOptions> = {}) =>
    signTestJwt({ key, claims: { sub: WEB, aud: [AUDIENCE], ...(claims as object) }, ...more });
  const lookAt = async (jwt: string, options: Partial<InspectOptions> = {}) => {
    const seen = await look(file("token.jwt", `${jwt}\n`), options);
    const [, , signature = ""] = jwt.split(".");
    assert.ok(signature.length < 20 || !seen.text.includes(signature));
    assert.doesNotMatch(seen.text, /eyJ/);
    return seen;
  };

  it("header and claims are shown, the token and its signature are not", async () => {
    const { text, last, code } = await lookAt(await token({ claims: { n: 1 } }), { bundle: bundleFile() });
    assert.match(text, /^token {6}header \{"alg":"ES256",/);
    assert.match(text, /"n": 1/);
    assert.match(text, /^life {7}ends in (?:5 min|4 min \d+ s)$/m);
    assert.match(text, /^signature {2}64 bytes, not shown$/m);
    assert.match(
      last,
      new RegExp(`^verified {3}${WEB} by the JWT bundle of ${HOME}, .*; its audience was not compared`),
    );
    assert.equal(code, 0);
  });

  it("is verified for an audience, and refused for another", async () => {
    const jwt = await token();
    const bundle = bundleFile();
    const right = await lookAt(jwt, { bundle, audience: ["x", AUDIENCE] });
    assert.match(right.last, /until \S+Z$/);
    const wrong = await lookAt(jwt, { bundle, audience: ["x"] });
    assert.deepEqual([wrong.code, wrong.last.split(":")[0]], [1, "refused    jwt.audience"]);
  });

  it("what breaks a rule is refused with the reason, and shown as far as it can be", async () => {
    const old = Math.floor(Date.now() / 1_000) - 300;
    const cases: [jwt: string, reason: string, form: boolean][] = [
      [await token({ claims: { exp: old } }), "jwt.expired", false],
      [
        await token({ signature: (bytes) => bytes.map((byte, i) => (i === 9 ? byte ^ 1 : byte)) }),
        "jwt.signature",
        false,
      ],
      [await token({ key: await testJwtKey() }), "jwt.key-not-found", false],
      [await token({ claims: { sub: `spiffe://${PARTNER}/web` } }), "jwt.no-bundle", false],
      [await token({ header: { alg: "HS256" } }), "jwt.algorithm", true],
      [await token({ header: { typ: "at+jwt" } }), "jwt.type", true],
      [await token({ claims: { sub: "web" } }), "jwt.subject", true],
    ];
    const bundle = bundleFile();
    for (const [jwt, reason, form] of cases) {
      const seen = await lookAt(jwt, { bundle });
      assert.deepEqual([seen.code, seen.last.split(":")[0]], [1, `refused    ${reason}`]);
      assert.match(seen.text, /^claims {5}\{\n/m);
      assert.equal((await lookAt(jwt)).last.startsWith("refused"), form, reason);
    }
    assert.match((await lookAt(cases[0]![0])).text, /^life {7}ended 5 min .*ago$/m);
    const broken = await lookAt("not.a.token");
    assert.match(broken.text, /its header is not JSON[\s\S]*its payload is not JSON/);
    assert.equal(broken.code, 1);
  });

  it("claims that a terminal would act on are escaped", async () => {
    const { text } = await lookAt(await token({ claims: { x: "\u009b2J\u202e\x1b]0;y\x07" } }));
    assert.match(text, /\\u009b2J\\u202e\\u001b/);
  });
});

describe("spiffe-edge inspect: servers", () => {
  let world: World;

  before(async () => {
    world = await makeWorld("serverAuth");
  });

  /** Inspects a server that shows this. */
  const serve = async (options: TlsOptions, inspectOptions: Partial<InspectOptions> = {}) => {
    const server = createServer({ requestCert: true, rejectUnauthorized: false, ...options }, (socket) => {
      socket.on("error", () => {});
      socket.resume();
    });
    server.on("tlsClientError", () => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      return await look(`127.0.0.1:${(server.address() as { port: number }).port}`, inspectOptions);
    } finally {
      server.close();
    }
  };
  const trusting = () => file("world.pem", world.home.certPem);

  it("[S-2] [X509-30] what is presented is verified, and every class of wrong servers is refused with its reason", async () => {
    const bundle = trusting();
    const { cert, key: pem } = { cert: world.good.certPem, key: world.good.keyPem };
    let seen = 0;
    for (const { name, show, reason } of world.wrong) {
      if (show === undefined) continue;
      const good = await serve({ cert, key: pem }, { bundle });
      assert.deepEqual([good.code, good.last.startsWith(`verified   ${WEB} by `)], [0, true], name);
      const bad = await serve(show, { bundle });
      // The bundle here is home's alone.
      const expected = name === "ID of the partner under home's CA" ? "x509.no-bundle" : reason;
      assert.deepEqual([bad.code, bad.last.split(":")[0]], [1, `refused    ${expected}`], name);
      seen++;
    }
    assert.ok(seen >= 15, `only ${seen} classes`);
  });

  it("tells protocol and chain, also without a bundle", async () => {
    const show = { cert: world.good.certPem, key: world.good.keyPem };
    const { text, last, code } = await serve({ ...show, ALPNProtocols: ["h2"] });
    assert.match(text, /^handshake {2}127\.0\.0\.1:\d+ {2}TLSv1\.3, h2\ncertificate 0\n/);
    assert.match(last, /^not verified: no bundle;/);
    assert.equal(code, 0);
    const old = await serve({ ...show, maxVersion: "TLSv1.2" }, { bundle: trusting() });
    assert.match(old.text, /TLSv1\.2, no protocol chosen\n +this package dials TLS 1\.3 only$/m);
    assert.equal(old.code, 0);
  });

  it("who does not speak TLS, who is silent, and who is not there", async () => {
    const answers: [name: string, says: string, timeout: number, words: RegExp][] = [
      ["plain", "HTTP/1.1 400 Bad Request\r\n\r\n", 60_000, /Expected a TLS handshake with 127\.0\.0\.1:\d+: /],
      ["silent", "", 300, /No TLS handshake with 127\.0\.0\.1:\d+ within 300 ms/],
    ];
    for (const [name, says, timeout, words] of answers) {
      const server = tcpServer((socket) => {
        socket.on("error", () => {});
        socket.resume();
        if (says !== "") socket.end(says);
      });
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      const { port } = server.address() as { port: number };
      await assert.rejects(look(`127.0.0.1:${port}`, { timeout }), words, name);
      server.close();
    }
    await assert.rejects(look("127.0.0.1:1"), /Expected a TLS handshake with 127\.0\.0\.1:1: .*ECONNREFUSED/);
  });
});

describe("spiffe-edge inspect: what is none of these", () => {
  it("is a wrong command line", async () => {
    const cases: [what: string, words: RegExp][] = [
      [join(folder, "none"), /there is no file/],
      ["127.0.0.1", /there is no file 127\.0\.0\.1/],
      ["127.0.0.1:0", /there is no file/],
      ["127.0.0.1:65536", /there is no file/],
      ["https://127.0.0.1:443/path", /there is no file/],
      [folder, /EISDIR/],
      [file("empty", ""), /is empty/],
      [file("text", "hello"), /looks like none of them/],
      [file("binary", new Uint8Array([1, 2, 3])), /looks like none of them/],
      ["/dev/zero", /at most 4194304 bytes/],
      [`${"a".repeat(60)}.${"b".repeat(60)}.c`, /looks like a token/],
    ];
    for (const [what, words] of cases) await assertUsage(what, words);
  });

  it("broken files of each kind are refused", async () => {
    const der = svid.chainDer;
    const broken: [name: string, content: string | Uint8Array][] = [
      ["cut.pem", svid.certPem.slice(0, 200)],
      ["cut.der", der.slice(0, -5)],
      ["tail.der", Buffer.concat([der, new Uint8Array([0])])],
      ["sequence.der", new Uint8Array([0x30, 0x82, 0, 0])],
      ["json.json", "{"],
    ];
    for (const [name, content] of broken) {
      const { code, last } = await look(file(name, content));
      assert.deepEqual([code, last.startsWith("refused")], [1, true], `${name}: ${last}`);
    }
  });
});

describe("spiffe-edge inspect from outside", () => {
  let authority: Authority;
  const env = () => ({ env: { SPIFFE_ENDPOINT_SOCKET: authority.socketFor("web") } });

  before(async () => {
    authority = await Authority.start({ trustDomain: HOME, entries: [{ id: WEB, socket: "web" }] });
  });

  after(() => authority.close());

  it("takes stdin, and the bundles of the Workload API", async () => {
    const { stdout: input } = await spiffeEdge(["fetch", "jwt", "--audience", AUDIENCE], env());
    const good = await spiffeEdge(["inspect", "-", "--audience", AUDIENCE], { ...env(), input });
    assert.deepEqual([good.code, good.stderr], [0, ""]);
    assert.match(good.stdout, new RegExp(`\nverified {3}${WEB} by the JWT bundle of ${HOME}, until \\S+Z\n$`));
    assert.ok(!good.stdout.includes(input.trim().split(".")[2]!));
    const bad = await spiffeEdge(["inspect", "-", "--audience", "x"], { ...env(), input });
    assert.equal(bad.code, 1);
    assert.match(bad.stdout, /\nrefused {4}jwt\.audience: [^\n]+\n$/);
    const out = join(folder, "svid");
    await spiffeEdge(["fetch", "x509", "--out", out], env());
    const chain = await spiffeEdge(["inspect", join(out, "svid.pem")], env());
    assert.match(chain.stdout, new RegExp(`\nverified {3}${WEB} by spiffe://${HOME} in the bundle of ${HOME}, `));
  });

  it("an agent that does not answer is a failure, and what can be is shown", async () => {
    const what = file("svid.pem", svid.certPem);
    const ended = await spiffeEdge(["inspect", what, "--socket", "unix:///nowhere.sock"]);
    assert.equal(ended.code, 1);
    assert.match(ended.stdout, /^certificate 0\n[\s\S]*\nnot verified: [^\n]*no such socket[^\n]*\n$/);
  });

  it("a reader that leaves ends it without a word", async () => {
    const program = new Program(onThisRuntime("src/cli/main.ts", ["inspect", file("svid.pem", svid.certPem)]));
    program.child.stdout?.destroy();
    const { code, stderr } = await program.ended;
    assert.deepEqual([code, stderr], [1, ""]);
  });

  it("wrong command lines end with code 2 and one sentence", async () => {
    for (const args of [[], ["--audience"], ["a", "b"], [join(folder, "none")], ["-"]]) {
      const ended = await spiffeEdge(["inspect", ...args]);
      assert.equal(ended.code, 2, args.join(" "));
      assert.match(ended.stderr, /^spiffe-edge: [^\n]+\n$/);
      assert.equal(ended.stdout, "");
    }
    const help = await spiffeEdge(["inspect", "--help"]);
    assert.match(
      help.stdout,
      /^Usage: spiffe-edge inspect \[options\] <what>\n[\s\S]*\nExamples:\n {2}spiffe-edge inspect /,
    );
  });
});
