export { Authority, type AuthorityOptions } from "./authority.ts";
export type { AuthorityEntry } from "./entries.ts";
