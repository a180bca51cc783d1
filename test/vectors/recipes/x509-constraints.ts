/** Name constraints of X.509 authorities (RFC 5280 §4.2.1.10), closed on doubt. */
import { fromHex } from "../../../src/crypto/octets.ts";
import { type IssueOptions, issueCa, issueLeaf, name, type TestName } from "../../../src/x509/issue.testing.ts";
import { ID, type X509Recipe, x509 } from "./x509.ts";

const CN = "2.5.4.3";
const O = "2.5.4.10";
const EMAIL = "1.2.840.113549.1.9.1";
const DOUBT = "a name that a constraint speaks of and that can not be judged is refused";

const IPV6_MASK = [255, 255, 255, 255, ...new Uint8Array(12)];
/** An organization in BMPString, which nobody compares any more. */
const BMP_NAME = fromHex("300f310d300b060355040a1e0400410042");

interface Lists {
  readonly permitted?: readonly TestName[];
  readonly excluded?: readonly TestName[];
}

/** A leaf below an authority with these constraints; `twin` makes it a refusal. */
function under(
  title: string,
  lists: Lists,
  leaf: IssueOptions & { id?: string } = {},
  refused?: { twin: string; choice?: string },
): X509Recipe {
  const { twin, choice } = refused ?? {};
  const about = {
    ...(twin !== undefined && { reason: "x509.name-constraints" as const, twin: `constraints: ${twin}` }),
    ...(choice !== undefined && { choice }),
  };
  return x509(`constraints: ${title}`, "X509-16 X509-37 S-16", about, async () => {
    const ca = await issueCa({ subject: "constrained", ...lists });
    const id = leaf.id ?? ID;
    const domain = id.slice("spiffe://".length).split("/")[0]!;
    return { chain: [await issueLeaf(ca, leaf)], trusted: { [domain]: [ca] }, id };
  });
}

const besides = (...more: readonly TestName[]) => ({ names: [{ uri: ID }, ...more] });
const PERMITTED = "URI host permitted";
const EXCLUDED = "another URI host excluded";

const uris: readonly X509Recipe[] = [
  under(PERMITTED, { permitted: [{ uri: "example.org" }] }),
  under("URI host permitted, in upper case", { permitted: [{ uri: "EXAMPLE.org" }] }),
  under("one of several URI hosts permitted", { permitted: [{ uri: "other.example" }, { uri: "example.org" }] }),
  under("another URI host permitted", { permitted: [{ uri: "other.example" }] }, {}, { twin: PERMITTED }),
  under(
    "URI host permitted, a host below it presented",
    { permitted: [{ uri: "example.org" }] },
    { id: "spiffe://sub.example.org/web" },
    { twin: PERMITTED },
  ),
  under(
    "URI host permitted, a host that ends like it presented",
    { permitted: [{ uri: "example.org" }] },
    { id: "spiffe://badexample.org/web" },
    { twin: PERMITTED },
  ),
  under(
    "URI hosts below a domain permitted",
    { permitted: [{ uri: ".example.org" }] },
    { id: "spiffe://a.b.example.org/web" },
  ),
  under(
    "URI hosts below a domain permitted, the domain itself presented",
    { permitted: [{ uri: ".example.org" }] },
    {},
    { twin: "URI hosts below a domain permitted" },
  ),
  under(EXCLUDED, { excluded: [{ uri: "other.example" }] }),
  under("URI host excluded", { excluded: [{ uri: "example.org" }] }, {}, { twin: EXCLUDED }),
  under(
    "URI host permitted and excluded",
    { permitted: [{ uri: "example.org" }], excluded: [{ uri: "example.org" }] },
    {},
    {
      twin: EXCLUDED,
    },
  ),
  under(
    "single label under a URI constraint",
    { permitted: [{ uri: "td" }] },
    { id: "spiffe://td/web" },
    { twin: PERMITTED, choice: "RFC 5280: a host that is no qualified name matches no constraint" },
  ),
  under(
    "single label, another URI host excluded",
    { excluded: [{ uri: "other.example" }] },
    { id: "spiffe://td/web" },
    { twin: EXCLUDED, choice: DOUBT },
  ),
  under(
    "IP address under a URI constraint",
    { permitted: [{ uri: "192.168.1.1" }] },
    { id: "spiffe://192.168.1.1/web" },
    { twin: PERMITTED, choice: "RFC 5280: a host that is no qualified name matches no constraint" },
  ),
];

const others: readonly X509Recipe[] = [
  under("DNS constraint, no DNS name", { permitted: [{ dns: "example.org" }] }),
  under("DNS name permitted", { permitted: [{ dns: "example.org" }] }, besides({ dns: "web.example.org" })),
  under("DNS name not permitted", { permitted: [{ dns: "example.org" }] }, besides({ dns: "web.other.example" }), {
    twin: "DNS name permitted",
  }),
  under("DNS name excluded", { excluded: [{ dns: "example.org" }] }, besides({ dns: "web.example.org" }), {
    twin: "DNS name permitted",
  }),
  under(
    "IP address permitted",
    { permitted: [{ ip: Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0) }] },
    besides({ ip: Uint8Array.of(10, 1, 2, 3) }),
  ),
  under(
    "IP address not permitted",
    { permitted: [{ ip: Uint8Array.of(10, 0, 0, 0, 255, 0, 0, 0) }] },
    besides({ ip: Uint8Array.of(11, 1, 2, 3) }),
    { twin: "IP address permitted" },
  ),
  under("e-mail permitted", { permitted: [{ email: "example.org" }] }, besides({ email: "a@example.org" })),
  under("e-mail not permitted", { permitted: [{ email: "example.org" }] }, besides({ email: "a@other.example" }), {
    twin: "e-mail permitted",
  }),
  under(
    "e-mail of the subject not permitted",
    { permitted: [{ email: "example.org" }] },
    { subject: name([EMAIL, "a@other.example"]) },
    { twin: "e-mail permitted" },
  ),
  under(
    "directory name permitted",
    { permitted: [{ directory: name([O, "Example"]) }] },
    { subject: name([O, "Example"], [CN, "web"]) },
  ),
  under(
    "directory name not permitted",
    { permitted: [{ directory: name([O, "Example"]) }] },
    { subject: name([O, "Other"], [CN, "web"]) },
    { twin: "directory name permitted" },
  ),
  under("one mailbox permitted", { permitted: [{ email: "a@example.org" }] }, besides({ email: "a@example.org" })),
  under(
    "one mailbox permitted, that of another host presented",
    { permitted: [{ email: "a@example.org" }] },
    besides({ email: "a@other.example" }),
    { twin: "one mailbox permitted" },
  ),
  under(
    "IPv6 addresses permitted, an IPv4 address presented",
    { permitted: [{ ip: Uint8Array.from([0x20, 1, 0xd, 0xb8, ...new Uint8Array(12), ...IPV6_MASK]) }] },
    besides({ ip: Uint8Array.of(32, 1, 13, 184) }),
    { twin: "IP address permitted" },
  ),
  under(
    "directory name permitted, a shorter one presented",
    { permitted: [{ directory: name([O, "Example"], [CN, "web"]) }] },
    { subject: name([O, "Example"]) },
    { twin: "directory name permitted" },
  ),
  under(
    "directory name excluded, one in a form that can not be read presented",
    { excluded: [{ directory: name([O, "Example"]) }] },
    { subject: BMP_NAME },
    { twin: "another directory name excluded", choice: DOUBT },
  ),
  under(
    "another directory name excluded",
    { excluded: [{ directory: name([O, "Example"]) }] },
    { subject: name([O, "Other"]) },
  ),
  under("constraint of another kind, no such name", { excluded: [{ other: "x" }] }),
  under("constraint of another kind, and such a name", { excluded: [{ other: "y" }] }, besides({ other: "x" }), {
    twin: "constraint of another kind, no such name",
    choice: DOUBT,
  }),
];

/** A constrained root, a constrained intermediate below it, and a leaf of this host. */
function twice(title: string, host: string, refused?: { twin: string }): X509Recipe {
  const about =
    refused === undefined ? {} : { reason: "x509.name-constraints" as const, twin: `constraints: ${refused.twin}` };
  return x509(`constraints: ${title}`, "X509-16 S-16", about, async () => {
    const ca = await issueCa({ subject: "root", permitted: [{ uri: "a.example.org" }, { uri: "b.example.org" }] });
    const permitted = [{ uri: "b.example.org" }, { uri: "c.example.org" }];
    const narrow = await issueCa({ issuer: ca, subject: "narrow", permitted });
    const id = `spiffe://${host}/web`;
    return { chain: [await issueLeaf(narrow, { id }), narrow], trusted: { [host]: [ca] }, id };
  });
}

const chains: readonly X509Recipe[] = [
  twice("permitted by root and intermediate", "b.example.org"),
  twice("permitted by the root alone", "a.example.org", { twin: "permitted by root and intermediate" }),
  twice("permitted by the intermediate alone", "c.example.org", { twin: "permitted by root and intermediate" }),
  x509(
    "constraints: an intermediate's own ID is not permitted",
    "X509-16 S-16",
    { reason: "x509.name-constraints", twin: "constraints: an intermediate's own ID is permitted" },
    () => named("spiffe://other.example"),
  ),
  x509("constraints: an intermediate's own ID is permitted", "X509-16 S-16", {}, () => named("spiffe://example.org")),
];

async function named(id: string) {
  const ca = await issueCa({ subject: "root", permitted: [{ uri: "example.org" }] });
  const intermediate = await issueCa({ issuer: ca, subject: "named", names: [{ uri: id }] });
  return { chain: [await issueLeaf(intermediate), intermediate], trusted: [ca] };
}

export const CONSTRAINTS: readonly X509Recipe[] = [...uris, ...others, ...chains];
