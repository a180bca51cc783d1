import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { LIMITS } from "../../base/index.ts";
import { TAG } from "../../encoding/der.ts";
import { encodeDer } from "../../encoding/encode-der.ts";
import { type Issued, type IssueOptions, issueCa, issueLeaf, name, type TestName } from "../issue.testing.ts";
import { judged } from "../judge.testing.ts";

const CN = "2.5.4.3";
const O = "2.5.4.10";
const EMAIL = "1.2.840.113549.1.9.1";
const WEB = { uri: "spiffe://example.org/web" };

type Lists = { permitted?: readonly TestName[]; excluded?: readonly TestName[] };

/** The verdict on a leaf below an authority with these constraints. */
async function under(lists: Lists, leaf: IssueOptions & { id?: string } = {}): Promise<string> {
  const root = await issueCa({ subject: "constrained", ...lists });
  const id = leaf.id ?? WEB.uri;
  return judged([await issueLeaf(root, leaf)], [root], { trustDomain: id.slice("spiffe://".length).split("/")[0]! });
}

const names = (...more: TestName[]) => ({ names: [WEB, ...more] });
const refused = "x509.name-constraints 0";

describe("name constraints", () => {
  it("[X509-16] [S-16] permit URI names by their host: itself, or below a leading dot", async () => {
    for (const [base, id, wanted] of [
      ["example.org", "spiffe://example.org/web", "accepted"],
      ["EXAMPLE.org", "spiffe://example.org/web", "accepted"],
      ["example.org", "spiffe://sub.example.org/web", refused],
      ["example.org", "spiffe://badexample.org/web", refused],
      ["example.org", "spiffe://example.org.evil.net/web", refused],
      [".example.org", "spiffe://sub.example.org/web", "accepted"],
      [".example.org", "spiffe://a.b.example.org/web", "accepted"],
      [".example.org", "spiffe://example.org/web", refused],
      [".example.org", "spiffe://a.b.example.com/web", refused],
      [".example.org", "spiffe://a.badexample.org/web", refused],
      [".example.org", "spiffe://sub.example.org.evil.net/web", refused],
      [".local", "spiffe://x0tta6bl4.local/web", "accepted"],
    ] as const) {
      assert.equal(await under({ permitted: [{ uri: base }] }, { id }), wanted, `${base} ${id}`);
    }
    assert.equal(
      await under({ permitted: [{ uri: "other.org" }, { uri: "example.org" }] }),
      "accepted",
      "any of the list",
    );
  });

  it("[S-16] exclude URI names by their host", async () => {
    assert.equal(await under({ excluded: [{ uri: "example.org" }] }), refused);
    assert.equal(await under({ excluded: [{ uri: "other.org" }] }), "accepted");
    assert.equal(await under({ excluded: [{ uri: ".org" }] }), refused);
    assert.equal(await under({ permitted: [{ uri: "example.org" }], excluded: [{ uri: "example.org" }] }), refused);
  });

  it("[S-16] refuse hosts under a URI constraint that are no qualified name: addresses, single labels, odd dots", async () => {
    for (const host of [
      "td",
      "localhost",
      "192.168.1.1",
      "999.999",
      "example.org.",
      ".example.org",
      "a..example.org",
      "1",
    ]) {
      const id = `spiffe://${host}/web`;
      for (const lists of [
        { permitted: [{ uri: host }] },
        { permitted: [{ uri: ".org" }, { uri: "org" }] },
        { excluded: [{ uri: "other.org" }] },
      ]) {
        assert.equal(await under(lists, { id }), refused, `${host} ${JSON.stringify(lists)}`);
      }
      assert.equal(
        await under({ permitted: [{ dns: "example.org" }] }, { id }),
        "accepted",
        `${host} under a DNS constraint`,
      );
    }
    assert.equal(
      await under({ permitted: [{ uri: "my_td.example-2.org" }] }, { id: "spiffe://my_td.example-2.org/web" }),
      "accepted",
    );
  });

  it("[S-16] take a URI constraint that can not be read for permitting nothing and excluding everything", async () => {
    for (const uri of [
      "",
      ".",
      "spiffe://example.org",
      "example.org/",
      "*.org",
      "example.org:443",
      "example..org",
      "exämple.org".replace("ä", "@"),
    ]) {
      assert.equal(await under({ permitted: [{ uri }] }), refused, `permitted ${uri}`);
      assert.equal(await under({ excluded: [{ uri }] }), refused, `excluded ${uri}`);
    }
  });

  it("[S-16] judge URI names of authorities on the path, user and port aside", async () => {
    const root = await issueCa({ subject: "constrained", permitted: [{ uri: "example.org" }] });
    const through = async (uri: string) => {
      const between = await issueCa({ issuer: root, subject: "between", names: [{ uri }] });
      return judged([await issueLeaf(between), between], [root]);
    };
    for (const uri of [
      "spiffe://example.org",
      "https://example.org:443/x",
      "https://user@example.org/",
      "HTTPS://Example.ORG",
      "x-y.z+1://example.org?q",
    ]) {
      assert.equal(await through(uri), "accepted", uri);
    }
    for (const uri of [
      "spiffe://other.org",
      "https://example.org@other.org/",
      "https://other.org/@example.org",
      "https://[::1]/",
      "https://10.0.0.1/",
      "urn:example.org",
      "urn:a://example.org/",
      "1://example.org",
      "urn:x y://example.org/",
      "mailto:a@example.org",
      "//example.org/",
      "example.org",
      "",
      "https://other.org\\@example.org/",
      "https://other.org#@example.org",
      "https://example.org:x/",
      "https://a@b@example.org/",
    ]) {
      assert.equal(await through(uri), "x509.name-constraints 1", uri);
    }
  });

  it("[S-16] permit and exclude DNS names with those below them", async () => {
    for (const [base, dns, permitted, excluded] of [
      ["example.org", "example.org", true, true],
      ["example.org", "a.b.example.org", true, true],
      ["example.org", "EXAMPLE.ORG", true, true],
      ["example.org", "badexample.org", false, false],
      ["example.org", "aexample.org", false, false],
      ["example.org", "a.b.example.com", false, false],
      [".example.org", "a.example.org", true, true],
      [".example.org", "a.b.example.com", false, false],
      [".example.org", "example.org", false, true],
      ["", "anything.net", true, true],
      ["example.org", "*.example.org", true, true],
      ["a.example.org", "*.example.org", false, true],
      ["a.b.example.org", "*.example.org", false, true],
      ["a.other.org", "*.example.org", false, false],
      ["-", "example.org", false, false],
      ["*.example.org", "a.example.org", false, true],
      ["example.org.", "example.org", false, true],
    ] as const) {
      const leaf = names({ dns });
      assert.equal(
        await under({ permitted: [{ dns: base }] }, leaf),
        permitted ? "accepted" : refused,
        `permitted ${base} ${dns}`,
      );
      assert.equal(
        await under({ excluded: [{ dns: base }] }, leaf),
        excluded ? refused : "accepted",
        `excluded ${base} ${dns}`,
      );
    }
    for (const dns of [
      "",
      ".",
      "a..b",
      "example.org.",
      "a b.example.org",
      "x.*.example.org",
      "*",
      "example.org\0.net",
      "a".repeat(64),
    ]) {
      assert.equal(await under({ excluded: [{ dns: "other.net" }] }, names({ dns })), refused, JSON.stringify(dns));
      assert.equal(
        await under({ permitted: [{ uri: "example.org" }] }, names({ dns })),
        "accepted",
        JSON.stringify(dns),
      );
    }
  });

  it("[S-16] permit and exclude addresses by mask, each family for itself", async () => {
    const ip = (...octets: number[]) => ({ ip: Uint8Array.from(octets) });
    const net10 = ip(10, 0, 0, 0, 255, 0, 0, 0);
    const six = (last: number) => ip(0xfd, ...new Array(14).fill(0), last);
    const net6 = ip(0xfd, ...new Array(15).fill(0), 0xff, ...new Array(15).fill(0));
    for (const [base, address, inside] of [
      [net10, ip(10, 200, 3, 4), true],
      [net10, ip(11, 0, 0, 0), false],
      [net10, six(1), false],
      [net6, six(1), true],
      [net6, ip(0xfe, ...new Array(15).fill(0)), false],
      [net6, ip(10, 0, 0, 1), false],
      [ip(1, 2, 3, 4, 255, 255, 255, 255), ip(1, 2, 3, 4), true],
      [ip(1, 2, 3, 4, 255, 255, 255, 255), ip(1, 2, 3, 5), false],
      [ip(0, 0, 0, 0, 0, 0, 0, 0), ip(1, 2, 3, 5), true],
      [ip(10, 1, 2, 3, 255, 0, 0, 0), ip(10, 9, 9, 9), true],
    ] as const) {
      assert.equal(await under({ permitted: [base] }, names(address)), inside ? "accepted" : refused);
      assert.equal(await under({ excluded: [base] }, names(address)), inside ? refused : "accepted");
    }
  });

  it("[S-16] permit and exclude mailboxes by address, host, and host below a dot, in names and in the subject", async () => {
    const ways = (email: string): (IssueOptions & { id?: string })[] => [
      names({ email }),
      { subject: name([CN, "leaf"], [EMAIL, email]) },
    ];
    for (const [base, email, permitted, excluded] of [
      ["a@example.org", "a@example.org", true, true],
      ["a@example.org", "a@EXAMPLE.org", true, true],
      ["a@example.org", "A@example.org", false, true],
      ["a@example.org", "b@example.org", false, false],
      ["a@example.org", "a@other.org", false, false],
      ["example.org", "b@example.org", true, true],
      ["example.org", "b@sub.example.org", false, false],
      [".example.org", "b@sub.example.org", true, true],
      [".example.org", "b@example.org", false, false],
      [".example.org", "b@a.b.example.com", false, false],
      ["a b@example.org", "b@example.org", false, true],
      ["", "b@example.org", false, true],
      ["example.org", "b@c@example.org", false, true],
      ["example.org", '"b"@example.org', false, true],
      ["example.org", "example.org", false, true],
      ["example.org", "@example.org", false, true],
      ["example.org", "b@", false, true],
      ["example.org", "b@a..b", false, true],
      ["example.org", "b@a b", false, true],
      [".example.org", "b@.example.org", false, true],
      ["a@b..c", "a@example.org", false, true],
    ] as const) {
      for (const leaf of ways(email)) {
        assert.equal(
          await under({ permitted: [{ email: base }] }, leaf),
          permitted ? "accepted" : refused,
          `permitted ${base} ${email}`,
        );
        assert.equal(
          await under({ excluded: [{ email: base }] }, leaf),
          excluded ? refused : "accepted",
          `excluded ${base} ${email}`,
        );
      }
    }
    const twice = { ...names({ email: "a@example.org" }), subject: name([CN, "leaf"], [EMAIL, "a@other.org"]) };
    assert.equal(await under({ permitted: [{ email: "example.org" }] }, twice), refused);
  });

  it("[S-16] permit and exclude directory names by their beginning, letter case and spaces aside", async () => {
    const base = name([O, "Example  Inc"]);
    const ways = (directory: Uint8Array): IssueOptions[] => [
      { subject: directory },
      { ...names({ directory }), subject: name([O, "Example Inc"], [CN, "leaf"]) },
    ];
    for (const [subject, inside] of [
      [name([O, "Example Inc"], [CN, "x"]), true],
      [name([O, "EXAMPLE INC"]), true],
      [name([`p:${O}`, "example inc"], [CN, "x"]), true],
      [name([O, "Example Inc."], [CN, "x"]), false],
      [name([CN, "x"], [O, "Example Inc"]), false],
      [name([CN, "Example Inc"]), false],
    ] as const) {
      for (const leaf of ways(subject)) {
        assert.equal(await under({ permitted: [{ directory: base }] }, leaf), inside ? "accepted" : refused);
      }
      assert.equal(await under({ excluded: [{ directory: base }] }, { subject }), inside ? refused : "accepted");
    }
    const longer = name([O, "Example Inc"], [CN, "x"], [CN, "y"]);
    assert.equal(
      await under({ permitted: [{ directory: longer }] }, { subject: name([O, "Example Inc"], [CN, "x"]) }),
      refused,
    );
    assert.equal(
      await under({ excluded: [{ directory: longer }] }, { subject: name([O, "Example Inc"], [CN, "x"]) }),
      "accepted",
    );
    assert.equal(await under({ permitted: [{ directory: name() }] }), "accepted");
    assert.equal(await under({ excluded: [{ directory: name() }] }), refused);
  });

  it("[S-16] take a directory value that can not be read for outside when permitted, inside when excluded", async () => {
    const oid = Uint8Array.of(6, 3, 0x55, 4, 10);
    const bmp = Uint8Array.of(0x1e, 4, 0, 0x41, 0, 0x42);
    const subject = encodeDer(TAG.sequence, encodeDer(TAG.set, encodeDer(TAG.sequence, oid, bmp)));
    assert.equal(await under({ permitted: [{ directory: name([O, "AB"]) }] }, { subject }), refused);
    assert.equal(await under({ excluded: [{ directory: name([O, "CD"]) }] }, { subject }), refused);
    assert.equal(await under({ excluded: [{ directory: name([O, "CD"]) }] }, { subject: name([O, "AB"]) }), "accepted");
    assert.equal(await under({ permitted: [{ directory: subject }] }, { subject: name([O, "AB"]) }), refused);
    assert.equal(await under({ excluded: [{ directory: subject }] }, { subject: name([O, "AB"]) }), refused);
  });

  it("[S-16] compare directory values by what all readers read: string types, every attribute", async () => {
    const attribute = (tag: number, ...octets: number[]) =>
      encodeDer(TAG.sequence, Uint8Array.of(6, 3, 0x55, 4, 10), encodeDer(tag, Uint8Array.from(octets)));
    const named = (...attributes: Uint8Array[]) => encodeDer(TAG.sequence, encodeDer(TAG.set, ...attributes));
    const both = async (base: Uint8Array, subject: Uint8Array) => [
      await under({ permitted: [{ directory: base }] }, { subject }),
      await under({ excluded: [{ directory: base }] }, { subject }),
    ];
    const [inside, outside, doubt] = [
      ["accepted", refused],
      [refused, "accepted"],
      [refused, refused],
    ];
    const ab = attribute(TAG.utf8String, 0x41, 0x42);
    assert.deepEqual(await both(named(ab), named(attribute(TAG.ia5String, 0x41, 0x42))), inside);
    assert.deepEqual(await both(named(ab), named(attribute(TAG.ia5String, 0x41, 0x43))), outside);
    const accent = [0xc3, 0xa9];
    assert.deepEqual(
      await both(named(attribute(TAG.utf8String, ...accent)), named(attribute(TAG.utf8String, ...accent))),
      inside,
    );
    for (const tag of [TAG.printableString, TAG.ia5String])
      assert.deepEqual(await both(named(ab), named(attribute(tag, 0x41, ...accent))), doubt, "no text of that type");
    const bmp = attribute(0x1e, 0, 0x43);
    assert.deepEqual(await both(named(ab), named(ab, bmp)), doubt, "one of two can not be read");
    assert.deepEqual(await both(named(ab), named(ab, attribute(TAG.utf8String, 0x43))), outside);
  });

  it("[S-16] take a mailbox of the subject that can not be read for outside when permitted, inside when excluded", async () => {
    const oid = Uint8Array.of(6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1);
    const bmp = Uint8Array.of(0x1e, 4, 0, 0x41, 0, 0x42);
    const subject = encodeDer(TAG.sequence, encodeDer(TAG.set, encodeDer(TAG.sequence, oid, bmp)));
    assert.equal(await under({ permitted: [{ email: "a.test" }] }, { subject }), refused);
    assert.equal(await under({ excluded: [{ email: "a.test" }] }, { subject }), refused);
    assert.equal(await under({ excluded: [{ dns: "a.test" }] }, { subject }), "accepted");
  });

  it("[X509-06] [S-16] do not speak of an empty subject", async () => {
    const empty = { subject: name(), namesCritical: true };
    const lists = { permitted: [{ directory: name([O, "Example"]) }] };
    assert.equal(await under(lists, empty), "accepted");
    assert.equal(await under(lists, { ...empty, subject: name([O, "Other"]) }), refused);
  });

  it("[S-16] refuse names of a kind that can not be judged, once a constraint speaks of it", async () => {
    assert.equal(await under({ permitted: [{ other: "x" }] }, names({ other: "x" })), refused);
    assert.equal(await under({ excluded: [{ other: "y" }] }, names({ other: "x" })), refused);
    assert.equal(await under({ excluded: [{ other: "y" }] }), "accepted");
    assert.equal(await under({ permitted: [{ dns: "example.org" }] }, names({ other: "x" })), "accepted");
  });

  it("[S-16] apply to every later certificate, and of every authority above it", async () => {
    const root = await issueCa({ subject: "root", permitted: [{ uri: "example.org" }, { uri: ".example.org" }] });
    const narrow = await issueCa({ issuer: root, subject: "narrow", permitted: [{ uri: "a.example.org" }] });
    const wide = await issueCa({
      issuer: narrow,
      subject: "wide",
      permitted: [{ uri: "example.org" }, { uri: "a.example.org" }, { uri: "other.org" }],
    });
    const at = async (host: string) => {
      const leaf = await issueLeaf(wide, { id: `spiffe://${host}/web` });
      return judged([leaf, wide, narrow], [root], { trustDomain: host });
    };
    assert.equal(await at("a.example.org"), "accepted");
    assert.equal(await at("example.org"), refused);
    assert.equal(await at("other.org"), refused);
    const named = await issueCa({ issuer: root, subject: "named", names: [{ uri: "spiffe://other.org" }] });
    assert.equal(await judged([await issueLeaf(named), named], [root]), "x509.name-constraints 1");
    const plain = await issueCa({ issuer: root, subject: "named" });
    assert.equal(await judged([await issueLeaf(plain), plain], [root]), "accepted");
  });

  it("[S-16] are not applied to the authority that has them, nor to self-issued intermediates", async () => {
    const lists = { permitted: [{ uri: "example.org" }] };
    const root = await issueCa({ subject: "root", names: [{ uri: "spiffe://other.org" }], ...lists });
    assert.equal(await judged([await issueLeaf(root)], [root]), "accepted");
    const next = await issueCa({ issuer: root, subject: "root", names: [{ uri: "spiffe://other.org" }] });
    assert.equal(await judged([await issueLeaf(next), next], [root]), "accepted");
    assert.equal(
      await judged([await issueLeaf(next, { id: "spiffe://other.org/web" }), next], [root], {
        trustDomain: "other.org",
      }),
      refused,
    );
  });

  it("[S-16] hold for a leaf whose subject is its issuer's name", async () => {
    const root = await issueCa({ subject: "root", permitted: [{ uri: "example.org" }] });
    assert.equal(
      await judged([await issueLeaf(root, { subject: "root", id: "spiffe://other.org/web" })], [root], {
        trustDomain: "other.org",
      }),
      refused,
    );
    assert.equal(await judged([await issueLeaf(root, { subject: "root" })], [root]), "accepted");
  });

  describe("work", () => {
    let root: Issued;
    before(async () => {
      const bases = Array.from({ length: 60 }, (_, index) => ({ dns: `n${index}.example.net` }));
      root = await issueCa({ subject: "busy", excluded: bases });
    });

    it("[S-16] [A-8] is bounded by names times constraints", async () => {
      const hosts = (count: number) => ({
        names: [WEB, ...Array.from({ length: count }, (_, index) => ({ dns: `h${index}` }))],
      });
      const most = Math.floor(LIMITS.nameConstraintWork / 60) - 2;
      assert.equal(await judged([await issueLeaf(root, hosts(most))], [root]), "accepted");
      assert.equal(await judged([await issueLeaf(root, hosts(most + 1))], [root]), "x509.work-limit");
    });
  });
});
