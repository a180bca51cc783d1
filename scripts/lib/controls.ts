/** The controls whose absence some test must notice, on each runtime. */

export interface Control {
  name: string;
  /** What is taken out, one place after another: `find` is exact source text that occurs once in the file. */
  patches: readonly { file: string; find: string; replace: string }[];
  /** Test files, at least one of which must notice. */
  tests: readonly string[];
}

/** Replaces a text that has to be there exactly once. */
export function replaceOnce(text: string, file: string, find: string, replace: string): string {
  const parts = text.split(find);
  if (parts.length !== 2) throw new Error(`${file} holds ${JSON.stringify(find)} ${parts.length - 1} times, not once`);
  return parts.join(replace);
}

export const CONTROLS: readonly Control[] = [
  {
    name: "policy-default-deny",
    patches: [
      {
        file: "src/policy/policy.ts",
        find: "if (allowed === undefined) return DEFAULT_DENY;",
        replace: 'if (allowed === undefined) return { verdict: "allow", reason: "policy.allowed", mode: "enforce" };',
      },
    ],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "policy-deny-wins",
    patches: [{ file: "src/policy/policy.ts", find: "if (denied !== undefined) return", replace: "if (false) return" }],
    tests: ["src/policy/policy.test.ts"],
  },
  {
    name: "header-strip",
    patches: [
      {
        file: "src/gateway/headers.ts",
        find: "return IDENTITY.has(plainName(name));",
        replace: "return false;",
      },
    ],
    tests: ["src/gateway/headers.test.ts"],
  },
  {
    name: "early-refusal",
    patches: [
      {
        file: "src/tls/listen.ts",
        find: "      if (verdict.ok !== true) {\n        socket.destroy();",
        replace:
          "      if (verdict.ok !== true) {\n        for (const listener of own) Reflect.apply(listener, this.#server, [socket]);\n        socket.destroy();",
      },
      {
        file: "src/tls/entries.ts",
        find: "    if (verdict?.accepted === true) return verdict;\n    rooms.stray();",
        replace: "    if (true) return verdict ?? { accepted: true };\n    rooms.stray();",
      },
    ],
    tests: ["src/tls/refused-peers.test.ts"],
  },
  {
    name: "entry-guard",
    patches: [
      {
        file: "src/tls/entries.ts",
        find: "    if (verdict?.accepted === true) return verdict;\n    rooms.stray();",
        replace: "    if (true) return verdict ?? { accepted: true };\n    rooms.stray();",
      },
    ],
    tests: ["src/tls/entries.test.ts"],
  },
  {
    name: "peer-authorization",
    patches: [
      {
        file: "src/tls/judge.ts",
        find: "if (authorized?.ok === true) return verified;",
        replace: "if (true) return verified;",
      },
    ],
    tests: ["src/tls/refused-peers.test.ts"],
  },
];
