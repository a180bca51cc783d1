/** How a value shows itself in `console.log` and `util.inspect`, on Node, Bun and Deno, without importing any of them. */
export function inspectAs<T extends object>(prototype: T, show: (self: T) => string): void {
  const value = function (this: T): string {
    return show(this);
  };
  for (const key of ["nodejs.util.inspect.custom", "Deno.customInspect"]) {
    Object.defineProperty(prototype, Symbol.for(key), { value, configurable: true });
  }
}

/** Keeps an object that holds a secret out of logs: inspection and JSON give the text alone. */
export function hideSecret<T extends object>(holder: T, text: string): T {
  inspectAs(holder, () => text);
  Object.defineProperty(holder, "toJSON", { value: () => text, configurable: true });
  return holder;
}
