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

/** The routes of one listener, as a tree of segments. */
export class RouteTable {
  readonly #root = newPlace();
  /** Segments that the routes can tell apart, and one more. */
  readonly #limit: number;

  constructor(routes: readonly RouteConfig[], listener: string) {
    let longest = 0;
    for (const route of routes) {
      if (!route.listeners.includes(listener)) continue;
      const { texts, rest } = route.path.pattern;
      longest = Math.max(longest, texts.length);
      let place = this.#root;
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
    this.#limit = longest + 1;
  }

  /**
   * The route of a canonical path: of all that match the one whose first difference to the others is text where they
   * have a wildcard, or its end where they have `**`. Each place of the tree is looked at once.
   */
  find(path: string): RouteConfig | undefined {
    return search(this.#root, splitSegments(path, this.#limit), 0);
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
