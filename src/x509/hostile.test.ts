import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LIMITS } from "../base/index.ts";
import { splitDer, TAG } from "../encoding/der.ts";
import { encodeDer } from "../encoding/encode-der.ts";
import { decodePem } from "../encoding/pem.ts";
import { parseJson } from "../encoding/strict-json.ts";
import { Certificate } from "./certificate.ts";
import { type IssueOptions, issueCa, issueLeaf, name, type TestName } from "./issue.testing.ts";
import { judged } from "./judge.testing.ts";

const EMAIL = "1.2.840.113549.1.9.1";
const refused = "x509.name-constraints 0";

/** The verdict on a leaf below an intermediate with these constraints. */
async function under(
  lists: { permitted?: readonly TestName[]; excluded?: readonly TestName[] },
  leaf: IssueOptions,
): Promise<string> {
  const root = await issueCa({ subject: "constrained", ...lists });
  return judged([await issueLeaf(root, leaf)], [root]);
}

describe("hostile certificates and documents", () => {
  it("[A-8] [X509-37] an object identifier too long to be one is refused before its digits are computed", async () => {
    const root = await issueCa();
    const purposes = (octets: number) => {
      const oid = new Uint8Array(octets).fill(0x81);
      oid[octets - 1] = 1;
      const both = [1, 2].map((purpose) => encodeDer(TAG.oid, Uint8Array.of(0x2b, 6, 1, 5, 5, 7, 3, purpose)));
      return [{ oid: "2.5.29.37", value: encodeDer(TAG.sequence, ...both, encodeDer(TAG.oid, oid)) }];
    };
    const leaf = async (octets: number) =>
      judged([await issueLeaf(root, { extKeyUsage: null, extensions: purposes(octets) } as IssueOptions)], [root]);
    assert.equal(await leaf(64), "accepted");
    assert.match(await leaf(65), /^x509\.malformed/);
    assert.match(await leaf(60_000), /^x509\.malformed/);
  });

  it("[S-16] e-mail addresses of a subject count as names", async () => {
    const attribute = encodeDer(
      TAG.sequence,
      encodeDer(TAG.oid, Uint8Array.of(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1)),
      encodeDer(TAG.utf8String, Uint8Array.of(0x61, 0x40, 0x62)),
    );
    const subject = (count: number) =>
      encodeDer(TAG.sequence, encodeDer(TAG.set, ...Array<Uint8Array>(count).fill(attribute)));
    const excluded = Array<TestName>(1_000).fill({ email: "c" });
    assert.equal(await under({ excluded }, { subject: subject(60) }), "accepted");
    assert.match(await under({ excluded }, { subject: subject(70) }), /^x509\.work-limit/);
  });

  it("[S-16] an excluded directory name is not escaped by characters that nobody sees or that fold", async () => {
    const excluded = (text: string) => ({ excluded: [{ directory: name(["2.5.4.3", text]) }] });
    assert.equal(await under(excluded("leaf"), { subject: "other" }), "accepted");
    for (const [base, subject] of [
      ["leaf", "le\u00adaf"],
      ["leaf", "le\u200baf"],
      ["strasse", "stra\u00dfe"],
    ] as const) {
      assert.equal(await under(excluded(base), { subject }), refused, subject);
    }
  });

  it("[S-16] [A-8] a directory value too long to be one is not put in order for a comparison", async () => {
    const subject = (marks: number) => name(["2.5.4.3", `a${"\u0301".repeat(marks)}`]);
    const other = { excluded: [{ directory: name(["2.5.4.3", "other"]) }] };
    const same = (marks: number) => ({ permitted: [{ directory: subject(marks) }] });
    assert.equal(await under(other, { subject: subject(255) }), "accepted");
    assert.equal(await under(other, { subject: subject(256) }), refused);
    assert.equal(await under(same(255), { subject: subject(255) }), "accepted");
    assert.equal(await under(same(256), { subject: subject(256) }), refused);
  });

  it("[S-16] a permitted directory name covers other letter case, and no other letter", async () => {
    const lists = (text: string) => ({ permitted: [{ directory: name(["2.5.4.3", text]) }] });
    assert.equal(await under(lists("kim"), { subject: "KIM" }), "accepted");
    assert.equal(await under(lists("kim"), { subject: "k\u0131m" }), refused);
    assert.equal(await under(lists("k\u0131m"), { subject: "K\u0131M" }), "accepted");
    assert.equal(await under(lists("k\u0131m"), { subject: "KIM" }), refused);
  });

  it("[S-16] relative names of several attributes are compared whole, in any order", async () => {
    const attribute = (last: number, text: string) =>
      encodeDer(
        TAG.sequence,
        encodeDer(TAG.oid, Uint8Array.of(0x55, 4, last)),
        encodeDer(TAG.utf8String, new TextEncoder().encode(text)),
      );
    const one = (...attributes: Uint8Array[]) => encodeDer(TAG.sequence, encodeDer(TAG.set, ...attributes));
    const [cn, o, ou] = [attribute(3, "web"), attribute(10, "shop"), attribute(11, "a")];
    const permitted = [{ directory: one(cn, o) }];
    assert.equal(await under({ permitted }, { subject: one(o, cn) }), "accepted");
    for (const subject of [one(cn), one(o), one(cn, o, ou), one(cn, ou), one(cn, attribute(10, "web"))]) {
      assert.equal(await under({ permitted }, { subject }), refused);
    }
    // what would join two attributes to one text is refused before it is compared
    const joined = attribute(10, "shop\n2.5.4.3=web");
    assert.equal(await under({ permitted }, { subject: one(joined) }), refused);
  });

  it("[S-16] the host of a subject's e-mail address is folded as ASCII only", async () => {
    const permitted = [{ email: "kelvin.org" }];
    const subject = (host: string) => name(["2.5.4.3", "x"], [EMAIL, `a@${host}`]);
    assert.equal(await under({ permitted }, { subject: subject("KELVIN.org") }), "accepted");
    assert.equal(await under({ permitted }, { subject: subject("\u212aelvin.org") }), refused);
  });

  it("counts are bounded before the elements are kept", () => {
    const empty = (count: number) => new Uint8Array(2 * count).map((_, i) => (i % 2 === 0 ? 0x30 : 0));
    assert.equal(splitDer(empty(10), 10).ok, true);
    const many = splitDer(empty(11), 10);
    assert.equal(many.ok === false && many.reason, "encoding.too-large");
    const values = (count: number) => parseJson(`[${Array(count).fill("0").join()}]`, { maxBytes: LIMITS.bundle });
    assert.equal(values(LIMITS.jsonValues - 1).ok, true);
    const more = values(LIMITS.jsonValues);
    assert.equal(more.ok === false && more.reason, "encoding.too-large");
  });

  it("what is not bytes or text is refused, not thrown at", async () => {
    const bytes = new Uint8Array((await issueCa()).der);
    assert.equal(Certificate.safeParse(bytes).ok, true);
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    assert.equal(Certificate.safeParse(bytes).ok, false, "its buffer was given away");
    for (const input of [undefined, null, 1, {}, "x"] as unknown as Uint8Array[]) {
      assert.equal(splitDer(input).ok, false);
      assert.equal(Certificate.safeParse(input).ok, false);
    }
    for (const input of [undefined, null, 1, {}] as unknown as string[]) assert.equal(decodePem(input).ok, false);
  });
});
