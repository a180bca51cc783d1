/** Rules by whom they speak of and where, so that a decision looks only at those that may match. */
import { ByText, Rarity } from "./by-text.ts";
import { type Identity, meansKind, misfitOf, type Trial } from "./match.ts";
import { matchesSegments, type SegmentPattern, splitSegments } from "./pattern.ts";
import type { CheckedRule } from "./rules.ts";

/** A rule under one of its principals. */
export interface Entry {
  readonly rule: CheckedRule;
  /** Position in the policy: of several matching rules the first is named. */
  readonly order: number;
  /** What the ID's path has to fit, where the principal is a pattern. */
  readonly pattern: SegmentPattern | undefined;
}

/** Whether a rule in audit counts while its audit runs, or once it is over. */
export type Audit = "running" | "over";

/** Entries in policy order, by a text that their path has to hold at one place. */
class Shelf {
  readonly #byPath = new ByText<Entry[]>(() => []);
  readonly #deny: boolean;

  constructor(deny: boolean) {
    this.#deny = deny;
  }

  /** @param place where the path of the rule is least like those of others */
  add(entry: Entry, place: number): void {
    this.#byPath.under(entry.rule.path, place).push(entry);
  }

  first(idSegments: readonly string[], trial: Trial, audit: Audit, before: Entry | undefined): Entry | undefined {
    const { anywhere, places } = this.#byPath;
    let found = firstOf(anywhere, idSegments, trial, audit, before);
    if (places.length === 0) return found;
    const segments = trial.hasPath ? trial.segmentsFor(this.#deny) : undefined;
    for (const { at, texts } of places) {
      if (segments === undefined) {
        for (const entries of texts.values()) found = firstOf(entries, idSegments, trial, audit, found);
        continue;
      }
      const here = texts.get(segments[at] as string);
      if (here !== undefined) found = firstOf(here, idSegments, trial, audit, found);
    }
    return found;
  }
}

/** Everything that speaks of one kind of identity. */
interface View {
  readonly byId: Map<string, Shelf>;
  /** By a text that the ID has to hold at one place. */
  readonly byTrustDomain: Map<string, ByText<Shelf>>;
  readonly anyone: Shelf;
}

function of<T>(map: Map<string, T>, key: string, make: () => T): T {
  let found = map.get(key);
  if (found === undefined) map.set(key, (found = make()));
  return found;
}

function firstOf(
  entries: readonly Entry[],
  idSegments: readonly string[],
  trial: Trial,
  audit: Audit,
  before: Entry | undefined,
): Entry | undefined {
  const end = before === undefined ? Number.POSITIVE_INFINITY : before.order;
  for (let i = 0; i < entries.length; i++) {
    const entry = entries[i] as Entry;
    if (entry.order >= end) break;
    const { rule, pattern } = entry;
    if (rule.auditUntil !== undefined && trial.now < rule.auditUntil !== (audit === "running")) continue;
    if (rule.captures > 0) trial.forget(rule.captures);
    if (pattern !== undefined && !matchesSegments(pattern, idSegments, idSegments.length, trial.captured)) continue;
    if (misfitOf(rule, trial) === undefined) return entry;
  }
  return before;
}

/** Rules that mean a token with the certificate's own ID, and that have not been looked at for the certificate. */
const meansTokenAlone = (rule: CheckedRule): boolean => rule.via?.has("jwt") === true && !rule.via.has("x509");

/** The rules of one effect. */
export class RuleIndex {
  readonly #ownX509: View;
  readonly #ownJwt: View;
  readonly #besides: View;
  readonly #besidesSameId: View;
  readonly #anonymous: Shelf;
  /** Segments that the patterns of IDs can tell apart, and one more. */
  readonly #idSegments: number;
  readonly isEmpty: boolean;

  /** @param deny whether all of the rules deny */
  constructor(rules: readonly (readonly [order: number, rule: CheckedRule])[], deny: boolean) {
    this.#anonymous = new Shelf(deny);
    const paths = new Rarity(rules.map(([, rule]) => rule.path));
    const ids = new Rarity(rules.flatMap(([, rule]) => rule.patterns.map(({ pattern }) => pattern)));
    const view = (means: (rule: CheckedRule) => boolean): View => {
      const made: View = { byId: new Map(), byTrustDomain: new Map(), anyone: new Shelf(deny) };
      const shelf = () => new Shelf(deny);
      const domain = (name: string) => of(made.byTrustDomain, name, () => new ByText(shelf));
      for (const [order, rule] of rules) {
        if (!means(rule)) continue;
        const entry = { rule, order, pattern: undefined };
        const place = paths.rarest(rule.path);
        for (const id of rule.ids) of(made.byId, id, shelf).add(entry, place);
        for (const name of rule.trustDomains) domain(name).anywhere.add(entry, place);
        for (const { trustDomain, pattern } of rule.patterns) {
          const among = domain(trustDomain).under(pattern, ids.rarest(pattern));
          among.add({ rule, order, pattern }, place);
        }
        const named = rule.ids.length + rule.patterns.length + rule.trustDomains.length;
        if (named === 0 && rule.via !== undefined) made.anyone.add(entry, place);
      }
      return made;
    };
    this.#ownX509 = view((rule) => meansKind(rule, "x509", true));
    this.#ownJwt = view((rule) => meansKind(rule, "jwt", true));
    this.#besides = view((rule) => meansKind(rule, "jwt", false));
    this.#besidesSameId = view(meansTokenAlone);
    for (const [order, rule] of rules) {
      if (rule.anonymous) this.#anonymous.add({ rule, order, pattern: undefined }, paths.rarest(rule.path));
    }
    const longest = rules.flatMap(([, { patterns }]) => patterns.map(({ pattern }) => pattern.texts.length));
    this.#idSegments = 1 + longest.reduce((most, length) => Math.max(most, length), 0);
    this.isEmpty = rules.length === 0;
  }

  /**
   * The first rule in policy order that speaks of one of the identities and of the request.
   *
   * @param identities none for a caller without identity: only rules that name it are looked at
   */
  first(identities: readonly Identity[], trial: Trial, audit: Audit = "over"): Entry | undefined {
    if (this.isEmpty) return undefined;
    if (identities.length === 0) return this.#anonymous.first([], trial, audit, undefined);
    let found: Entry | undefined;
    for (const identity of identities) {
      const { id } = identity;
      trial.turnTo(identity);
      const { byId, byTrustDomain, anyone } = this.#viewOf(identity, identities[0] as Identity);
      found = byId.get(id.uri)?.first([], trial, audit, found) ?? found;
      const domain = byTrustDomain.get(id.trustDomain.name);
      if (domain !== undefined) {
        const segments = splitSegments(id.path, this.#idSegments);
        found = domain.anywhere.first(segments, trial, audit, found);
        for (const { at, texts } of domain.places) {
          const shelf = texts.get(segments[at] as string);
          if (shelf !== undefined) found = shelf.first(segments, trial, audit, found);
        }
      }
      found = anyone.first([], trial, audit, found);
    }
    return found;
  }

  #viewOf(identity: Identity, own: Identity): View {
    if (identity.own) return identity.via === "x509" ? this.#ownX509 : this.#ownJwt;
    return identity.id.uri === own.id.uri ? this.#besidesSameId : this.#besides;
  }
}
