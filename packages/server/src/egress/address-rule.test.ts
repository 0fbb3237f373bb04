import { describe, expect, it } from "vitest"
import { addressKind, parseAddressRange, plainAddress } from "./address-rule.ts"
import { matchesRule, parseHostRule } from "./host-rule.ts"

describe("what an address is to an outgoing call", () => {
  it.each([
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "0:0:0:0:0:0:0:1",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "::ffff:a9fe:a9fe",
    "::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::7f00:1",
    "2002:7f00:1::1",
  ])("refuses %s", (address) => {
    expect(addressKind(address)).toBe("refused")
  })

  it.each(["10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "fd12:3456::1", "::ffff:10.0.0.1"])(
    "knows %s as private",
    (address) => {
      expect(addressKind(address)).toBe("private")
    },
  )

  it.each(["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::1"])(
    "knows %s as public",
    (address) => {
      expect(addressKind(address)).toBe("public")
    },
  )

  it("takes the IPv4 address out of what carries it, and nothing out of others", () => {
    expect(plainAddress("::ffff:10.0.0.1")).toBe("10.0.0.1")
    expect(plainAddress("2002:0a00:0001::")).toBe("10.0.0.1")
    expect(plainAddress("2606:4700::1111")).toBe("2606:4700::1111")
  })

  it("reads ranges strictly", () => {
    expect(parseAddressRange("10.0.0.0/8")).toEqual({ address: "10.0.0.0", prefix: 8 })
    for (const text of ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/08", "fe80::1%eth0", "::/129", "a/8", ""])
      expect(parseAddressRange(text), text).toBeUndefined()
  })
})

describe("rules of hosts", () => {
  const matches = (text: string, destination: { host: string; address?: string; port: number }): boolean => {
    const rule = parseHostRule(text)
    expect(rule, text).toBeDefined()
    return rule !== undefined && matchesRule(rule, destination)
  }
  it("name an address, a range, a host, the hosts below one, or a port of them", () => {
    expect(matches("127.0.0.0/8", { host: "localhost", address: "127.0.0.1", port: 80 })).toBe(true)
    expect(matches("127.0.0.0/8", { host: "localhost", address: "::ffff:127.0.0.1", port: 80 })).toBe(true)
    expect(matches("[::1]:8080", { host: "::1", port: 8080 })).toBe(true)
    expect(matches("[::1]:8080", { host: "::1", port: 80 })).toBe(false)
    expect(matches("metrics.example:9090", { host: "metrics.example", address: "10.0.0.1", port: 9090 })).toBe(true)
    expect(matches("metrics.example:9090", { host: "metrics.example", address: "10.0.0.1", port: 80 })).toBe(false)
    expect(matches("metrics.example", { host: "a.metrics.example", port: 80 })).toBe(false)
    expect(matches(".example", { host: "a.metrics.example", port: 80 })).toBe(true)
    expect(matches(".example", { host: "badexample", port: 80 })).toBe(false)
    expect(matches("*", { host: "anything", port: 1 })).toBe(true)
  })
  it("are refused where they are none", () => {
    for (const text of ["", "a b", "http://a", "a:0", "a:70000", "a:b", "[::1", "10.0.0.0/99"])
      expect(parseHostRule(text), text).toBeUndefined()
  })
})
