import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { inRange, type OptionNames, onlyKnown, plainOptions, usage, wholeInRange } from "./check-options.ts";

interface Options {
  readonly hint?: string;
  readonly audience: string;
}
const KNOWN: OptionNames<Options> = { hint: true, audience: true };
const sentence = (options: unknown): string => {
  try {
    onlyKnown("open", options, KNOWN);
    return "taken";
  } catch (error) {
    const { code, phase, message } = error as { code: string; phase: string; message: string };
    assert.deepEqual([code, phase], ["ERR_SPIFFE_USAGE", "options"]);
    return message;
  }
};

describe("options", () => {
  it("known names are taken, with a value or without, all or none of them", () => {
    for (const options of [{}, { hint: "web" }, { hint: undefined, audience: "a" }, Object.freeze({ audience: "a" })]) {
      assert.equal(sentence(options), "taken");
    }
    assert.equal(sentence(Object.assign(Object.create(null), { hint: "web" })), "taken");
    assert.equal(sentence(Object.create(null)), "taken");
  });

  it("another name is refused by its name, with or without a value", () => {
    assert.equal(sentence({ hints: "web" }), "Expected options of open among hint, audience; got hints");
    assert.match(sentence({ audience: "a", hints: undefined }), /; got hints$/);
    assert.match(sentence({ Hint: "web" }), /; got Hint$/);
    assert.match(sentence(Object.assign(Object.create(null), { hints: 1 })), /; got hints$/);
  });

  it("names that every object has are no options where they are written", () => {
    for (const name of ["toString", "constructor", "hasOwnProperty", "valueOf"]) {
      assert.match(sentence({ [name]: true }), new RegExp(`; got ${name}$`));
    }
    assert.match(sentence(JSON.parse('{"__proto__":{"hint":"web"}}')), /; got __proto__$/);
  });

  it("inherited names count like own ones, those of a prototype set by a literal too", () => {
    assert.match(sentence(Object.create({ hints: "web" })), /; got hints$/);
    assert.match(sentence({ __proto__: { hints: "web" } }), /; got hints$/);
    assert.equal(sentence(Object.create({ hint: "web" })), "taken");
  });

  it("an object of a class is taken for its fields and accessors; its methods are none", () => {
    class Settings {
      readonly audience: string = "a";
      get hint(): string {
        return "web";
      }
      describe(): string {
        return this.hint;
      }
    }
    class More extends Settings {
      readonly hints: string = "web";
    }
    assert.equal(sentence(new Settings()), "taken");
    assert.match(sentence(new More()), /; got hints$/);
  });

  it("symbols are no names", () => {
    assert.equal(sentence({ hint: "web", [Symbol("trace")]: 1 }), "taken");
  });

  it("what somebody gave to every object is nobody's option, and hides none", () => {
    const all = Object.prototype as unknown as Record<string, unknown>;
    all.extended = true;
    try {
      assert.equal(sentence({ hint: "web" }), "taken");
      assert.equal(sentence({}), "taken");
      assert.match(sentence({ hints: "web" }), /; got hints$/);
      assert.match(sentence({ extended: true }), /; got extended$/);
    } finally {
      delete all.extended;
    }
  });

  it("what is no object of options is refused by its kind, and not shown", () => {
    for (const [value, kind] of [
      [undefined, "none"],
      [null, "null"],
      [[], "an Array"],
      [["hint"], "an Array"],
      ["secret-token", "a string"],
      [new String("secret-token"), "0"],
      [5, "a number"],
      [5n, "a bigint"],
      [true, "a boolean"],
      [Symbol("s"), "a symbol"],
      [() => ({}), "a function"],
      [class {}, "a function"],
      [Promise.resolve({ hint: "web" }), "a Promise"],
      [new Map([["hint", "web"]]), "a Map"],
      [new Set(["hint"]), "a Set"],
      [new Date(0), "a Date"],
      [/hint/, "a RegExp"],
    ] as const) {
      const said = sentence(value);
      assert.ok(said.startsWith("Expected ") && said.endsWith(`; got ${kind}`), said);
      assert.ok(!said.includes("secret"), said);
    }
    for (const value of [new URL("unix:///run/agent.sock"), new AbortController().signal, new Uint8Array(1)]) {
      assert.match(sentence(value), /^Expected .*; got /);
    }
  });

  it("a Proxy is asked like the object it stands for", () => {
    assert.equal(sentence(new Proxy({ hint: "web" }, {})), "taken");
    assert.match(sentence(new Proxy({ hints: "web" }, {})), /; got hints$/);
  });

  it("plainOptions gives all that is known, own or not, and leaves out what is not said", () => {
    class Settings {
      readonly audience: string = "a";
      get hint(): string {
        return "web";
      }
    }
    assert.deepEqual({ ...plainOptions<Options>(new Settings(), KNOWN) }, { hint: "web", audience: "a" });
    assert.deepEqual(plainOptions<Partial<Options>>({ audience: "a" }, KNOWN), { audience: "a" });
    assert.deepEqual(Object.keys(plainOptions({ hint: undefined }, KNOWN)), ["hint"]);
  });

  it("numbers have their range, and those that count are whole", () => {
    const message = (run: () => void) => {
      try {
        run();
      } catch (error) {
        return (error as Error).message;
      }
      return "taken";
    };
    for (const value of [undefined, 1, 5, 10])
      assert.equal(
        message(() => inRange("ms", value, 1, 10)),
        "taken",
      );
    for (const value of [0, 11, Number.NaN, -1, "5" as never, null as never]) {
      assert.match(
        message(() => inRange("ms", value, 1, 10)),
        /^Expected ms to be a number from 1 to 10; got /,
      );
    }
    assert.equal(
      message(() => inRange("ms", Infinity, 1, Infinity)),
      "taken",
    );
    assert.equal(
      message(() => inRange("ms", 0, 1, Infinity)),
      "Expected ms to be a number of at least 1; got 0",
    );
    assert.equal(
      message(() => wholeInRange("port", 8_443, 0, 65_535)),
      "taken",
    );
    assert.equal(
      message(() => wholeInRange("n", Infinity, 1, Infinity)),
      "taken",
    );
    assert.equal(
      message(() => wholeInRange("port", 1.5, 0, 65_535)),
      "Expected port to be a whole number; got 1.5",
    );
    assert.match(
      message(() => wholeInRange("port", 65_536, 0, 65_535)),
      /from 0 to 65535; got 65536$/,
    );
  });

  it("an error says what to do", () => {
    assert.equal(usage("no").hint, "Change the call: it is refused each time");
    assert.equal(usage("no", "Use another").hint, "Use another");
  });
});
