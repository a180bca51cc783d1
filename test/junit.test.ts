import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type Leaf, parseJunit } from "../scripts/lib/junit.ts";

const brief = (leaves: readonly Leaf[]) => leaves.map(({ name, status }) => `${status} ${name}`);

const BUN = `<?xml version="1.0"?>
<testsuites name="bun test" tests="3">
  <testsuite name="a.test.ts" file="a.test.ts" tests="3">
    <testsuite name="outer &lt;&amp;" tests="2">
      <testcase name="one &quot;q&quot;" classname="outer" file="a.test.ts" />
      <testsuite name="inner"><testcase name="deep" file="a.test.ts"><skipped /></testcase></testsuite>
    </testsuite>
    <testcase name="top" file="a.test.ts"><failure type="E" message="m">1 !== 2 &amp; so on</failure></testcase>
  </testsuite>
</testsuites>`;

const NODE = `<?xml version="1.0"?>
<testsuites>
  <testsuite name="outer &lt;&amp;" tests="2">
    <testcase name="one &quot;q&quot;" classname="outer" file="/a.test.ts"/>
    <testsuite name="inner"><testcase name="deep" file="/a.test.ts"><skipped type="skipped" message="why"/></testcase></testsuite>
  </testsuite>
  <testcase name="top" file="/a.test.ts" failure="a > b"><failure type="f" message="m > n">1 !== 2 &amp; so on</failure></testcase>
  <!-- tests 3 -->
</testsuites>`;

const DENO = `<?xml version="1.0"?>
<testsuites name="deno test" tests="5">
  <testsuite name="./a.test.ts">
    <testcase name="outer &lt;&amp;" classname="./a.test.ts"><failure message="1 test step failed">1 test step failed.</failure></testcase>
    <testcase name="top" classname="./a.test.ts"><failure message="m">1 !== 2 &amp; so on</failure></testcase>
  </testsuite>
  <testsuite name="ext:deno_node/testing.ts">
    <testcase name="outer &lt;&amp; &gt; one &quot;q&quot;"></testcase>
    <testcase name="outer &lt;&amp; &gt; inner"></testcase>
    <testcase name="outer &lt;&amp; &gt; inner &gt; deep"><skipped/></testcase>
  </testsuite>
</testsuites>`;

describe("JUnit files", () => {
  const expected = ['passed outer <& > one "q"', "skipped outer <& > inner > deep", "failed top"];

  for (const [runtime, xml] of [
    ["bun", BUN],
    ["node", NODE],
  ] as const) {
    it(`gives the leaf tests of ${runtime} with their suites`, () => {
      const leaves = parseJunit(xml, runtime);
      assert.deepEqual(brief(leaves), expected);
      assert.equal(leaves[2]?.detail, "1 !== 2 & so on");
    });
  }

  it("gives the leaf tests of deno, without the suites it lists beside them", () => {
    const failedSuiteWithoutFailedTest = "failed outer <&";
    assert.deepEqual(brief(parseJunit(DENO, "deno")), [
      failedSuiteWithoutFailedTest,
      "failed top",
      expected[0],
      expected[1],
    ]);
    const failedBelow = DENO.replace('one &quot;q&quot;">', 'one &quot;q&quot;"><failure message="m">no</failure>');
    assert.deepEqual(brief(parseJunit(failedBelow, "deno")), ["failed top", 'failed outer <& > one "q"', expected[1]]);
  });

  it("finds no test in an empty file", () => {
    assert.deepEqual(parseJunit("", "bun"), []);
    assert.deepEqual(parseJunit('<testsuites name="deno test" tests="0"></testsuites>', "deno"), []);
  });
});
