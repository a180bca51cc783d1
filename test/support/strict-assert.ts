/** Loaded before the examples of docstrings: a `console.assert` that only prints would let every example pass. */
console.assert = (condition?: unknown, ...data: unknown[]): void => {
  if (!condition) throw new Error(["Assertion failed", ...data].join(" "));
};
