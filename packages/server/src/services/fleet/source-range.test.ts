import { expect, test } from "vitest"
import { isInRanges, parseSourceRange } from "./source-range.ts"

test.each([
  ["10.1.2.3", ["10.0.0.0/8"], true],
  ["11.1.2.3", ["10.0.0.0/8"], false],
  ["::ffff:10.1.2.3", ["10.0.0.0/8"], true],
  ["2001:db8::1", ["10.0.0.0/8", "2001:db8::/32"], true],
  ["2001:db9::1", ["2001:db8::/32"], false],
  ["192.0.2.7", ["192.0.2.7"], true],
  ["192.0.2.8", ["192.0.2.7"], false],
  ["192.0.2.8", ["0.0.0.0/0"], true],
  ["::1", ["0.0.0.0/0"], false],
  ["fe80::1%eth0", ["fe80::/10"], true],
  ["", ["0.0.0.0/0"], false],
  ["garbage", ["0.0.0.0/0", "::/0"], false],
])("X7: %s in %j is %s", (address, ranges, expected) => {
  expect(isInRanges(address, ranges)).toBe(expected)
})

test.each([
  "",
  "/8",
  "10.0.0.0/",
  "10.0.0.0/-1",
  "10.0.0.0/08",
  "10.0.0.0/33",
  "::/129",
  "fe80::1%eth0",
  "10.0.0.0/8/8",
])("X7: %j is no range", (text) => {
  expect(parseSourceRange(text)).toBeUndefined()
})
