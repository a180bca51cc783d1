/** Which route a request takes: the exact path first, then the longest prefix. */
import type { RouteConfig } from "./config-types.ts";

/** The routes of one listener, by path. */
export class RouteTable {
  readonly #exact = new Map<string, RouteConfig>();
  readonly #below = new Map<string, RouteConfig>();

  constructor(routes: readonly RouteConfig[], listener: string) {
    for (const route of routes) {
      if (route.listeners.includes(listener))
        (route.path.below ? this.#below : this.#exact).set(route.path.path, route);
    }
  }

  /** The route of a canonical path. */
  find(path: string): RouteConfig | undefined {
    const exact = this.#exact.get(path);
    if (exact !== undefined) return exact;
    for (let end = path.length; end >= 0; end = end === 0 ? -1 : path.lastIndexOf("/", end - 1)) {
      const route = this.#below.get(path.slice(0, end));
      if (route !== undefined) return route;
    }
    return undefined;
  }
}
