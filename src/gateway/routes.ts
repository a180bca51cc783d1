/** Paths of routes, and which route a request takes: segment by segment text before a wildcard, the end before `**`. */
import { accept, refuse, type Verdict } from "../base/index.ts";
import { parsePath } from "../policy/path.ts";
import { isFault, type SegmentPattern, splitSegments } from "../policy/pattern.ts";
import type { RouteConfig } from "./config-types.ts";

/** The path of a route. */
export interface RoutePath {
  /** As written. */
  readonly text: string;
  /** The same for paths that take the same requests: names of captures are left out. */
  readonly shape: string;
  readonly pattern: SegmentPattern;
}

/**
 * Reads the path of a route: canonical segments, `*` or `{name}` for any one that is not empty, a final `**` for
 * everything below.
 *
 * The refusal's message is a fragment that reads after "path".
 */
export function parseRoutePath(text: string): Verdict<RoutePath> {
  const names: string[] = [];
  const pattern = parsePath(text, names, false);
  if (isFault(pattern)) return refuse("request.target", pattern.what);
  const twice = names.find((_, slot) => pattern.slots.filter((one) => one === slot).length > 1);
  if (twice !== undefined)
    return refuse("request.target", `"${text}" names {${twice}} twice, and a route compares nothing`);
  const shape = [...pattern.texts.map((part) => part ?? "*"), ...(pattern.rest ? ["**"] : [])].join("/");
  return accept({ text, shape, pattern });
}

/** One place of the tree of routes: what may follow, and what ends here. */
interface Place {
  readonly texts: Map<string, Place>;
  any: Place | undefined;
  end: RouteConfig | undefined;
  below: RouteConfig | undefined;
}

const newPlace = (): Place => ({ texts: new Map(), any: undefined, end: undefined, below: undefined });

/** Adds a route to a tree. */
function plant(root: Place, route: RouteConfig): void {
  const { texts, rest } = route.path.pattern;
  let place = root;
  for (const text of texts) {
    let next = text === undefined ? place.any : place.texts.get(text);
    if (next === undefined) {
      next = newPlace();
      if (text === undefined) place.any = next;
      else place.texts.set(text, next);
    }
    place = next;
  }
  place[rest ? "below" : "end"] = route;
}

/** What a route has to write to name a host: itself, or `*.` for its first label. */
function spellings(host: string): [exact: string, wild: string] {
  const dot = host.indexOf(".");
  return [host, dot > 0 ? `*${host.slice(dot)}` : ""];
}

/** The routes of one listener, as trees of segments: one for each host that is named, and one for any host. */
export class RouteTable {
  readonly #any = newPlace();
  readonly #named = new Map<string, Place>();
  /** Hosts that routes of other listeners name. */
  readonly #elsewhere = new Set<string>();
  /** Segments that the routes can tell apart, and one more. */
  readonly #limit: number;

  constructor(routes: readonly RouteConfig[], listener: string) {
    let longest = 0;
    for (const route of routes) {
      if (!route.listeners.includes(listener)) {
        for (const host of route.hosts) this.#elsewhere.add(host);
        continue;
      }
      longest = Math.max(longest, route.path.pattern.texts.length);
      if (route.hosts.length === 0) plant(this.#any, route);
      for (const host of route.hosts) {
        const root = this.#named.get(host) ?? newPlace();
        this.#named.set(host, root);
        plant(root, route);
      }
    }
    this.#limit = longest + 1;
  }

  /** Whether another listener's routes name a host more exactly than those here (S-23). */
  isElsewhere(host: string): boolean {
    if (this.#elsewhere.size === 0) return false;
    for (const spelling of spellings(host)) {
      if (this.#named.has(spelling)) return false;
      if (this.#elsewhere.has(spelling)) return true;
    }
    return false;
  }

  /**
   * The route of a canonical path at a host: one that names the host, else one that names it by `*.`, else one for any. Of
   * all that match the one whose first difference to the others is text where they have a wildcard, or its end where they
   * have `**`. Each place of a tree is looked at once.
   */
  find(path: string, host: string): RouteConfig | undefined {
    const segments = splitSegments(path, this.#limit);
    if (this.#named.size > 0) {
      for (const spelling of spellings(host)) {
        const root = this.#named.get(spelling);
        const found = root && search(root, segments, 0);
        if (found !== undefined) return found;
      }
    }
    return search(this.#any, segments, 0);
  }
}

function search(place: Place, segments: readonly string[], at: number): RouteConfig | undefined {
  if (at === segments.length) return place.end ?? place.below;
  const segment = segments[at] as string;
  const next = place.texts.get(segment);
  let found = next === undefined ? undefined : search(next, segments, at + 1);
  if (found === undefined && place.any !== undefined && segment !== "") found = search(place.any, segments, at + 1);
  return found ?? place.below;
}
