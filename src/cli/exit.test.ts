import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SpiffeError } from "../base/index.ts";
import { EXIT, exitCodeOf, fieldsOf, lastWords, sentenceOf, usageError } from "./exit.ts";

describe("how a failure is told", () => {
  it("puts message and hint into one line", () => {
    const error = new SpiffeError("ERR_SPIFFE_WORKLOAD_API", "Nothing\n  listens there", { hint: "Start the agent" });
    assert.equal(sentenceOf(error), "Nothing listens there. Start the agent");
    assert.equal(sentenceOf(new SpiffeError("ERR_SPIFFE_TIMEOUT", "No answer!")), "No answer!");
  });

  it("ends with the code to look for, unless the command line or the file is the remedy", () => {
    const error = new SpiffeError("ERR_SPIFFE_TIMEOUT", "No answer", {
      hint: "Wait longer",
      reason: "upstream.timeout",
    });
    assert.equal(lastWords(error), "No answer. Wait longer [ERR_SPIFFE_TIMEOUT]");
    assert.equal(lastWords(usageError("Expected a port", "Name one")), "Expected a port. Name one");
    assert.equal(lastWords(new TypeError("x")), "unexpected failure: x");
    const told = { code: "ERR_SPIFFE_TIMEOUT", reason: "upstream.timeout", phase: undefined };
    assert.deepEqual(fieldsOf(error), { ...told, error: "No answer. Wait longer" });
  });

  it("keeps a line for each fault of a configuration", () => {
    const error = new SpiffeError("ERR_SPIFFE_CONFIG", "gateway.yaml:1:1 a: wrong\ngateway.yaml:2:1 b: wrong");
    assert.equal(sentenceOf(error).split("\n").length, 2);
  });

  it("shows neither stack nor cause of what nobody expected", () => {
    const error = new TypeError("x is not a function", { cause: new Error("secret") });
    assert.equal(sentenceOf(error), "unexpected failure: x is not a function");
    assert.equal(sentenceOf("text"), "unexpected failure: text");
  });

  it("ends with 2 where the command line, the environment or the file is wrong, else with 1", () => {
    assert.equal(exitCodeOf(usageError("a", "b")), EXIT.usage);
    assert.equal(exitCodeOf(new SpiffeError("ERR_SPIFFE_CONFIG", "a")), EXIT.usage);
    assert.equal(exitCodeOf(new SpiffeError("ERR_SPIFFE_ENDPOINT", "a")), EXIT.usage);
    assert.equal(exitCodeOf(new SpiffeError("ERR_SPIFFE_PORT_IN_USE", "a")), EXIT.failed);
    assert.equal(exitCodeOf(new Error("a")), EXIT.failed);
  });
});
