import { describe, expect, test } from "vitest"
import { compileExpression } from "./compile-expression.ts"

const evaluate = (text: string, data: Record<string, unknown> = {}): unknown =>
  compileExpression(text, { variables: { a: "dyn", s: "string" }, resultType: "any" }).evaluate(data)

describe("addresses", () => {
  test.each<[string, unknown]>([
    ["cidr('10.0.0.0/8').containsIP('10.255.0.1')", true],
    ["cidr('10.0.0.0/8').containsIP('11.0.0.1')", false],
    ["cidr('192.168.4.0/22').containsIP(ip('192.168.7.255'))", true],
    ["cidr('192.168.4.0/22').containsIP('192.168.8.0')", false],
    ["cidr('0.0.0.0/0').containsIP('255.255.255.255')", true],
    ["cidr('1.2.3.4/32').containsIP('1.2.3.5')", false],
    ["cidr('2001:db8::/33').containsIP('2001:db8:7fff::1')", true],
    ["cidr('2001:db8::/33').containsIP('2001:db8:8000::1')", false],
    ["cidr('::/0').containsIP('10.0.0.1')", false],
    ["cidr('fe80::1:0:0:0/80').containsIP('fe80:0:0:0:1:ffff::')", true],
    ["cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", true],
    ["cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))", false],
    ["cidr('10.0.0.0/8').prefixLength()", 8],
    ["ip('::1').family() + ip('1.1.1.1').family()", 10],
    ["ip('2001:DB8::1') == ip('2001:db8:0:0:0:0:0:1')", true],
    ["ip('1.2.3.4') == '1.2.3.4' || true", true],
    ["isIP('1.2.3.4') && !isIP('1.2.3.04') && !isIP('1.2.3') && !isIP('::1%eth0') && !isIP(':::')", true],
    ["!isIP('1:2:3:4:5:6:7') && isIP('1:2:3:4:5:6:7::') && !isIP('1:2:3:4:5:6:7:8::')", true],
    ["!isIP('::ffff:1.2.3.4') && !isIP('') && !isIP('12345::')", true],
    ["isCIDR('10.0.0.0/32') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0') && !isCIDR('::/129')", true],
    ["string(cidr('10.0.0.0/8')) + string(ip('FE80::1'))", "10.0.0.0/8fe80::1"],
    ["[ip('1.1.1.1'), cidr('1.1.1.0/24')]", ["1.1.1.1", "1.1.1.0/24"]],
  ])("%s", (text, expected) => {
    const isRefused = text.includes("== '1.2.3.4'")
    if (isRefused) expect(() => evaluate(text)).toThrow(/ip and string can't be compared/)
    else expect(evaluate(text)).toEqual(expected)
  })

  test("fail on what is none", () => {
    expect(() => evaluate("ip(s)", { s: "localhost" })).toThrow(/"localhost" is no IP address/)
    expect(() => evaluate("cidr('10.0.0.0/8').containsIP(a)", { a: 7 })).toThrow(/can't take int/)
    expect(() => evaluate("cidr(s)", { s: "10.0.0.0" })).toThrow(/no block of addresses/)
  })
})

describe("versions", () => {
  // The order that semver.org gives, and neighbours of it.
  const ordered = [
    ...["0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"],
    ...["1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"],
  ]

  test("stand in the order of semver.org", () => {
    for (const [at, left] of ordered.entries()) {
      for (const [other, right] of ordered.entries()) {
        const text = "semver(a).compareTo(semver(s))"
        expect(evaluate(text, { a: left, s: right }), `${left} and ${right}`).toBe(Math.sign(at - other))
      }
    }
  })

  test.each<[string, unknown]>([
    ["semver('1.2.3').isLessThan(semver('1.10.0'))", true],
    ["semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1'))", true],
    ["semver('1.2.3+a') == semver('1.2.3+b')", true],
    ["semver('1.2.3').major() * 100 + semver('1.2.3').minor() * 10 + semver('1.2.3').patch()", 123],
    ["isSemver('1.2.3-x.7+b') && !isSemver('1.2') && !isSemver('v1.2.3') && !isSemver('01.2.3')", true],
    ["!isSemver('1.2.3-01') && !isSemver('1.2.3-') && isSemver('1.2.3-0a')", true],
    ["string(semver('1.2.3-rc.1'))", "1.2.3-rc.1"],
  ])("%s", (text, expected) => {
    expect(evaluate(text)).toBe(expected)
  })

  test("fail on what is none", () => {
    expect(() => evaluate("semver(s)", { s: "1.2" })).toThrow(/"1.2" is no semantic version/)
  })
})
