/** The schema of a gateway file holds that of its policy: one file is enough for an editor. */
type Schema = Record<string, unknown> & { $defs: Record<string, unknown> };

/** Names of definitions that a value refers to, also by way of other definitions. */
function referred(value: unknown, defs: Record<string, unknown>, found: Set<string>): Set<string> {
  for (const [, name = ""] of JSON.stringify(value).matchAll(/"#\/\$defs\/(\w+)"/g)) {
    if (found.has(name)) continue;
    found.add(name);
    if (Object.hasOwn(defs, name)) referred(defs[name], defs, found);
  }
  return found;
}

/** The gateway's schema with the definitions of the policy that it refers to, in place of those it had. */
export function withPolicy(gateway: Schema, policy: Schema): Schema {
  const { $defs: all, ...root } = gateway;
  const own = Object.entries(all).filter(([name]) => !Object.hasOwn(policy.$defs, name));
  const needed = referred([root, own], policy.$defs, new Set());
  const shared = Object.entries(policy.$defs).filter(([name]) => needed.has(name));
  return { ...root, $defs: Object.fromEntries([...own, ...shared]) };
}
