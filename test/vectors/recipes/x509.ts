/** What the recipes of X.509 cases share: the shape of a recipe, and the authority that most of them are below. */
import type { Reason } from "../../../src/base/index.ts";
import { encodeBase64 } from "../../../src/encoding/index.ts";
import { type Issued, type IssueOptions, issueCa, issueLeaf, NOW } from "../../../src/x509/issue.testing.ts";
import type { Repeat, X509Case } from "../spiffe-cases.ts";
import type { Recipe } from "./add.ts";

export type X509Recipe = Recipe<X509Case>;

export const DOMAIN = "example.org";
export const ID = "spiffe://example.org/web";

/** A certificate as it comes out of issuing, as bytes, or many times. */
type Element = Issued | Uint8Array | { many: Issued; times: number };

export interface Presented {
  readonly chain: readonly Element[];
  /** Authorities by trust domain; those of {@link DOMAIN} when it is a list. */
  readonly trusted: readonly Issued[] | Readonly<Record<string, readonly Issued[]>>;
  readonly at?: number;
  readonly keys?: readonly string[];
  readonly id?: string;
}

export interface About {
  /** Why it is refused; a case without is accepted. */
  readonly reason?: Reason;
  readonly choice?: string;
  readonly twin?: string;
}

/** A recipe; requirements separated by spaces. An accepted peer is {@link ID} unless `make` says otherwise. */
export function x509(name: string, requirements: string, about: About, make: () => Promise<Presented>): X509Recipe {
  const { reason, choice, twin } = about;
  return {
    name,
    requirements: requirements.split(" "),
    valid: reason === undefined,
    ...(reason !== undefined && { reason }),
    ...(choice !== undefined && { choice }),
    ...(twin !== undefined && { twin }),
    async make() {
      const { chain, trusted, at, keys, id = ID } = await make();
      const bundles = Array.isArray(trusted) ? { [DOMAIN]: trusted } : (trusted as Record<string, readonly Issued[]>);
      return {
        ...(reason === undefined && { id }),
        time: new Date(at ?? NOW).toISOString(),
        keys: keys ?? ["P-256"],
        bundles: Object.fromEntries(Object.entries(bundles).map(([domain, list]) => [domain, list.map(base64)])),
        chain: chain.map(element),
      };
    },
  };
}

function base64({ der }: Issued): string {
  return encodeBase64(der);
}

function element(one: Element): string | Repeat {
  if (one instanceof Uint8Array) return encodeBase64(one);
  return "many" in one ? { repeat: base64(one.many), times: one.times } : base64(one);
}

/** Makes something the first time it is asked for. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** The authority of {@link DOMAIN}, as SPIRE makes them. */
export const root: () => Promise<Issued> = once(() =>
  issueCa({ subject: "root", names: [{ uri: `spiffe://${DOMAIN}` }] }),
);

/** A case of one leaf below {@link root}. */
export function leafCase(
  name: string,
  requirements: string,
  about: About,
  options: IssueOptions & { id?: string },
  more: Pick<Presented, "keys" | "at"> = {},
): X509Recipe {
  const id = options.id ?? ID;
  return x509(name, requirements, about, async () => {
    const ca = await root();
    const domain = /^spiffe:\/\/([^/]+)/.exec(id)?.[1] ?? DOMAIN;
    // a case is about the leaf alone, so its trust domain has a bundle where it has a name
    return { chain: [await issueLeaf(ca, options)], trusted: { [domain]: [ca] }, id, ...more };
  });
}

/** The twin of most refused leaves. */
export const LEAF = "leaf: as SPIRE issues it";

/** A leaf below {@link root} with these changes that is accepted. */
export function good(name: string, requirements: string, options: IssueOptions & { id?: string } = {}): X509Recipe {
  return leafCase(`leaf: ${name}`, requirements, {}, options);
}

/** A leaf below {@link root} with these changes that is refused; the ordinary one is its twin unless it names another. */
export function bad(
  name: string,
  requirements: string,
  reason: NonNullable<About["reason"]>,
  options: IssueOptions & { id?: string },
  { twin = LEAF, ...about }: Omit<About, "reason"> = {},
): X509Recipe {
  return leafCase(`leaf: ${name}`, requirements, { reason, twin, ...about }, options);
}

/** The twin of most refused chains. */
export const ONE = "chain: one intermediate";

export function below(issuer: Issued, subject: string, options: IssueOptions = {}): Promise<Issued> {
  return issueCa({ issuer, subject, ...options });
}

interface Line {
  readonly first: Issued;
  readonly second: Issued;
  readonly third: Issued;
}

/** Three authorities below {@link root}, each issued by the one before. */
export const line: () => Promise<Line> = once(async () => {
  const first = await below(await root(), "first");
  const second = await below(first, "second");
  return { first, second, third: await below(second, "third") };
});

export function chain(name: string, requirements: string, about: About, make: () => Promise<Presented>): X509Recipe {
  return x509(`chain: ${name}`, requirements, about, make);
}

/** A leaf and an intermediate with these changes below {@link root}. */
export function between(name: string, requirements: string, about: About, options: IssueOptions): X509Recipe {
  return chain(name, requirements, about.reason === undefined ? about : { twin: ONE, ...about }, async () => {
    const intermediate = await below(await root(), "between", options);
    return { chain: [await issueLeaf(intermediate), intermediate], trusted: [await root()], keys: keysOf(options) };
  });
}

/** An ordinary leaf below an authority with these changes, which is trusted. */
export function anchor(name: string, requirements: string, about: About, options: IssueOptions): X509Recipe {
  return chain(name, requirements, about, async () => {
    const ca = await issueCa({ subject: "anchor", ...options });
    return { chain: [await issueLeaf(ca)], trusted: [ca], keys: keysOf(options) };
  });
}

function keysOf({ keyType }: IssueOptions): readonly string[] {
  return keyType === undefined ? ["P-256"] : ["P-256", keyType];
}
