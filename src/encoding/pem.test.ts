import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LIMITS } from "../base/index.ts";
import { decodePem, encodePem } from "./pem.ts";

const der = Uint8Array.from({ length: 100 }, (_, i) => i);
const block = encodePem("CERTIFICATE", der);
const key = encodePem("PRIVATE KEY", der);

const blocks = (text: string) => {
  const verdict = decodePem(text);
  return verdict.ok ? verdict.value.map(({ label, der }) => `${label}:${der.length}`) : verdict.reason;
};

describe("PEM", () => {
  it("[X509-52] writes lines of 64 characters and reads them back", () => {
    assert.ok(block.startsWith("-----BEGIN CERTIFICATE-----\n") && block.endsWith("\n-----END CERTIFICATE-----\n"));
    assert.ok(block.split("\n").every((line) => line.length <= 64));
    const verdict = decodePem(block);
    assert.ok(verdict.ok && verdict.value.length === 1);
    assert.deepEqual(verdict.value[0]!.der, der);
  });

  it("reads several blocks in order, with explanations, other line ends and trailing white space", () => {
    assert.deepEqual(blocks(block + key), ["CERTIFICATE:100", "PRIVATE KEY:100"]);
    assert.deepEqual(blocks(`Subject: CN=x\n${block}\n\nnote\n${key}the end`), ["CERTIFICATE:100", "PRIVATE KEY:100"]);
    assert.deepEqual(blocks(block.replaceAll("\n", "\r\n")), ["CERTIFICATE:100"]);
    assert.deepEqual(blocks(block.replaceAll("\n", " \t\n")), ["CERTIFICATE:100"]);
    assert.deepEqual(blocks(block.replaceAll("\n", "\r")), ["CERTIFICATE:100"]);
    assert.deepEqual(blocks(block.replaceAll("\n", "\n\n \n")), ["CERTIFICATE:100"]);
    assert.deepEqual(blocks(block.trimEnd()), ["CERTIFICATE:100"]);
  });

  it("refuses whatever could hide a block", () => {
    const bad = {
      nothing: "",
      "no block": "hello\n",
      "no end": block.replace(/-----END.*\n/, ""),
      "no begin": block.replace(/-----BEGIN.*\n/, ""),
      "other label at the end": block.replace("END CERTIFICATE", "END PRIVATE KEY"),
      "begin in a block": block.replace("-----END CERTIFICATE-----\n", block),
      "four dashes": block.replace("-----BEGIN", "----BEGIN"),
      "six dashes": block.replace("-----BEGIN", "------BEGIN"),
      "lower case": block.replace("BEGIN CERTIFICATE", "begin certificate"),
      "leading space": ` ${block}`,
      "byte order mark": `\ufeff${block}`,
      "text after the boundary": block.replace("CERTIFICATE-----\n", "CERTIFICATE----- x\n"),
      headers: block.replace("CERTIFICATE-----\n", "CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n\n"),
      base64url: block.replace("AAEC", "AA_C"),
      "space in a line": block.replace("AAEC", "AA EC"),
      "comment in a block": block.replace("AAEC", "#AAEC"),
      "missing padding": block.replace("=", ""),
      "no content": "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
      "second block broken": block + block.replace("AAEC", "A*EC"),
      "second block without its end": block + block.replace(/-----END.*\n/, ""),
      "second block cut off behind its begin": `${block}-----BEGIN CERTIFICATE-----\n`,
    };
    for (const other of [null, undefined, 5, [block], new TextEncoder().encode(block)])
      assert.equal(blocks(other as never), "encoding.pem", String(other));
    assert.deepEqual(blocks(block + block), ["CERTIFICATE:100", "CERTIFICATE:100"]);
    for (const [name, text] of Object.entries(bad)) assert.equal(blocks(text), "encoding.pem", name);
    assert.deepEqual(blocks(block), ["CERTIFICATE:100"]);
  });

  it("refuses a text above the limit; one at the limit is read", () => {
    const filler = "x".repeat(LIMITS.bundle - block.length - 1);
    assert.deepEqual(blocks(`${filler}\n${block}`), ["CERTIFICATE:100"]);
    assert.equal(blocks(`${filler}x\n${block}`), "encoding.too-large");
  });

  it("says in which line a fault is, whatever ends the lines", () => {
    for (const end of ["\n", "\r\n", "\r"]) {
      const text = ["note", "", block.replace("BEGIN CERTIFICATE-----", "BEGIN CERTIFICATE----- x")].join("\n");
      const verdict = decodePem(text.replaceAll("\n", end));
      assert.ok(!verdict.ok && verdict.message.includes("line 3,"), JSON.stringify(verdict));
    }
  });

  it("takes no more than its size to refuse text without a block", () => {
    for (const text of ["\n", "\r", " ", " \n", "-----BEGIN A-----\n"]) {
      assert.equal(blocks(text.repeat(LIMITS.bundle / text.length)), "encoding.pem", JSON.stringify(text));
    }
  });

  it("its refusals repeat no content", () => {
    const verdict = decodePem(key.replace("AAEC", "A*EC"));
    assert.ok(!verdict.ok && !verdict.message.includes("A*EC"));
  });
});
