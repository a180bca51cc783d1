import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { signTestJwt, TestCa, type TestJwtKey, testJwtBundle, testJwtKey } from "../../authority/testing.ts";
import { systemClock } from "../../base/index.ts";
import { decodePem } from "../../encoding/index.ts";
import { TrustDomain } from "../../id/index.ts";
import { JwtBundle, JwtSvid } from "../../jwt/index.ts";
import { X509Bundle, X509Svid } from "../../x509/index.ts";
import { type HelperConfig, parseHelperConfig } from "./config.ts";
import { filesOf, type HelperState } from "./files.ts";

const X509 = "svid_file_name: svid.pem\nsvid_key_file_name: key.pem\nsvid_bundle_file_name: bundle.pem\n";

const configOf = (text: string): HelperConfig => parseHelperConfig(`agent_address: /a\ncert_dir: c\n${text}`, "h", {});

let root: TestCa;
let between: TestCa;
let foreign: TestCa;
let old: TestCa;
let key: TestJwtKey;
let state: HelperState;

before(async () => {
  const now = systemClock.now();
  root = await TestCa.create({ trustDomain: "example.org" });
  between = await root.intermediate();
  foreign = await TestCa.create({ trustDomain: "other.example" });
  old = await TestCa.create({ trustDomain: "example.org", notAfter: new Date(now - 1_000) });
  key = await testJwtKey("ES256", "a");
  const issued = await between.issue({ id: "spiffe://example.org/web" });
  const bundle = X509Bundle.fromPem("example.org", root.certPem + old.certPem);
  state = {
    svid: await X509Svid.parse(issued.chainDer, issued.privateKeyPkcs8),
    x509: new Map([
      ["example.org", bundle],
      ["other.example", X509Bundle.fromPem("other.example", foreign.certPem)],
    ]),
    jwt: new Map([["example.org", testJwtBundle(TrustDomain.parse("example.org"), key)]]),
    tokens: new Map(),
  };
});

/** Name to content. */
function written(text: string, given: HelperState = state): Map<string, string> {
  const files = filesOf(configOf(text), given, systemClock.now());
  if (typeof files === "string") throw new Error(files);
  return new Map(files.map(({ name, content }) => [name, content]));
}

const certificates = (text: string | undefined) => {
  const blocks = decodePem(text ?? "");
  return blocks.ok ? blocks.value.map(({ der }) => Buffer.from(der).toString("base64")) : blocks.message;
};
const of = (...ders: Uint8Array[]) => ders.map((der) => Buffer.from(der).toString("base64"));

describe("the helper's files", () => {
  it("are chain, key and the own bundle", async () => {
    const files = written(X509);
    assert.deepEqual([...files.keys()], ["bundle.pem", "svid.pem", "key.pem"]);
    const again = await X509Svid.fromPem(files.get("svid.pem")!, files.get("key.pem")!);
    assert.ok(again.leaf.equals(state.svid.leaf));
    assert.deepEqual(certificates(files.get("svid.pem")), of(state.svid.leaf.der, between.certificateDer));
    assert.deepEqual(certificates(files.get("bundle.pem")), of(root.rootDer, old.rootDer));
  });

  it("with add_intermediates_to_bundle have the intermediates there", () => {
    const files = written(`${X509}add_intermediates_to_bundle: true\n`);
    assert.deepEqual(certificates(files.get("svid.pem")), of(state.svid.leaf.der));
    assert.deepEqual(certificates(files.get("bundle.pem")), of(root.rootDer, old.rootDer, between.certificateDer));
  });

  it("with omit_expired lack authorities that have expired", () => {
    const files = written(`${X509}omit_expired: true\n`);
    assert.deepEqual(certificates(files.get("bundle.pem")), of(root.rootDer));
  });

  it("[FED-33] with include_federated_domains have each foreign bundle in a file of its own", () => {
    const files = written(`${X509}include_federated_domains: true\n`);
    assert.deepEqual(certificates(files.get("bundle.pem")), of(root.rootDer, old.rootDer), "the own one alone");
    assert.deepEqual(certificates(files.get("other.example.spiffe-trust-bundle.pem")), of(foreign.rootDer));
    assert.equal(files.size, 4);
  });

  it("[FED-05] hold the JWT bundles by trust domain name, as base64 of their JWK sets", () => {
    const document = JSON.parse(written("jwt_bundle_file_name: jwt.json\n").get("jwt.json")!) as Record<string, string>;
    assert.deepEqual(Object.keys(document), ["example.org"]);
    const jwks = Buffer.from(document["example.org"]!, "base64");
    const bundle = JwtBundle.fromJwks("example.org", jwks, "spiffe-bundle");
    assert.ok(bundle.equals(state.jwt.get("example.org")!));
  });

  it("hold each token alone, and are not written while one is missing", async () => {
    const text = "jwt_svids:\n  - { jwt_audience: a, jwt_svid_file_name: a.jwt }\n";
    const config = configOf(text);
    assert.equal(filesOf(config, state, 0), "there is no JWT-SVID for a");
    const token = await signTestJwt({ key, claims: { sub: "spiffe://example.org/web", aud: ["a"] } });
    const tokens = new Map([[config.tokens[0]!, JwtSvid.parseUnverified(token)]]);
    const files = filesOf(config, { ...state, tokens }, 0);
    assert.deepEqual(files, [{ name: "a.jwt", content: token, mode: 0o600 }]);
  });

  it("are not written without the own bundle, or without JWT bundles", () => {
    const none = { ...state, x509: new Map(), jwt: new Map() };
    assert.equal(filesOf(configOf(X509), none, 0), "there is no bundle of example.org");
    assert.equal(filesOf(configOf("jwt_bundle_file_name: b\n"), none, 0), "there are no JWT bundles");
    assert.equal(filesOf(configOf(X509), state, 0).length, 3);
  });
});
