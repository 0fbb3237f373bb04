import { isAppError } from "@signalbox/kernel/app-error"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { expandHostPattern, PatternError } from "./host-pattern.ts"
import { parseInventory } from "./inventory.ts"
import { splitWords } from "./parse-ini-inventory.ts"

const namesOf = (text: string, file = "hosts.ini") => parseInventory(text, file).hosts.map(({ name }) => name)
const hostOf = (text: string, name: string, file = "hosts.ini") => {
  const host = parseInventory(text, file).hosts.find((one) => one.name === name)
  return { groups: host?.groups, ...Object.fromEntries(host?.variables ?? []) }
}
const issuesOf = (text: string, file = "hosts.ini"): string[] => {
  try {
    parseInventory(text, file)
  } catch (error) {
    if (isAppError(error))
      return [error.message, ...error.issues.map(({ line, path, message }) => `${line ?? path}: ${message}`)]
    throw error
  }
  return []
}

describe("host patterns", () => {
  test.each([
    ["web", ["web"]],
    ["web[1:3]", ["web1", "web2", "web3"]],
    ["web[08:10].lan", ["web08.lan", "web09.lan", "web10.lan"]],
    ["db-[a:c]", ["db-a", "db-b", "db-c"]],
    ["r[1:5:2]", ["r1", "r3", "r5"]],
    ["r[1:2]n[a:b]", ["r1na", "r1nb", "r2na", "r2nb"]],
  ])("%s", (pattern, names) => expect(expandHostPattern(pattern)).toEqual(names))

  test.each([
    "w[3:1]",
    "w[1:2:0]",
    "w[01:100]",
    "w[a:3]",
    "w[:]",
    "w[1:2",
    "w[1:2]]",
    "w[1:99999]",
    "w[1:999][1:999]",
    "w[A:b]",
  ])("%s is none", (pattern) => expect(() => expandHostPattern(pattern)).toThrow(PatternError))

  test("a range has as many names as it says, all different", () => {
    fc.assert(
      fc.property(fc.nat(500), fc.nat(500), fc.integer({ min: 1, max: 9 }), (from, more, by) => {
        const names = expandHostPattern(`n[${from}:${from + more}:${by}]`)
        return names.length === Math.floor(more / by) + 1 && new Set(names).size === names.length
      }),
    )
  })
})

const ini = `# machines
gateway ansible_host=192.0.2.1 ansible_user=admin  # a comment
[web]
web[01:02].lan:2222 ansible_port=2200
odd note='two words' path="a \\"b\\"" x=a=b
[db]
db1
odd
[site:children]
web
db
[site:vars]
ansible_user = deploy
banner = "it's ours"
[web:vars]
ansible_user=www
[all:vars]
ansible_user=root
ansible_port=22
`

describe("INI", () => {
  test("groups, ranges, ports, quotes, and whose value counts", () => {
    expect(namesOf(ini)).toEqual(["db1", "gateway", "odd", "web01.lan", "web02.lan"])
    expect(parseInventory(ini, "hosts").groups).toEqual(["db", "site", "web"])
    expect(hostOf(ini, "gateway")).toEqual({
      groups: [],
      ansible_user: "admin",
      ansible_port: "22",
      ansible_host: "192.0.2.1",
    })
    expect(hostOf(ini, "web01.lan")).toEqual({
      groups: ["site", "web"],
      ansible_user: "www",
      ansible_port: "2200",
      banner: "it's ours",
    })
    expect(hostOf(ini, "db1")).toMatchObject({ ansible_user: "deploy" })
    expect(hostOf(ini, "odd")).toMatchObject({
      groups: ["db", "site", "web"],
      note: "two words",
      path: 'a "b"',
      x: "a=b",
    })
  })

  test.each([
    ["web:2222", "web", "2222"],
    ["[2001:db8::1]:22", "2001:db8::1", "22"],
    ["2001:db8::1", "2001:db8::1", undefined],
    ["192.0.2.7:8022", "192.0.2.7", "8022"],
  ])("%s", (line, name, port) => {
    expect(hostOf(line, name)).toMatchObject({ groups: [], ...(port === undefined ? {} : { ansible_port: port }) })
  })

  test.each([
    ["[web", "1: "],
    ["[web:what]\na", "1: "],
    ["a b", "1: "],
    ['a b="c', "1: a quotation mark"],
    ["[g:children]\nnone", 'the group "none" is a child of "g"'],
    ["[a:children]\nb\n[b:children]\na\n[b]\nh", "circle"],
    ["[g:vars]\nx", "2: "],
    ["x[1:0]", "1: "],
    ["\n# nothing", "names no host"],
  ])("%j says what is wrong, and where", (text, said) => {
    expect(issuesOf(text).join("\n")).toContain(said)
  })

  test("no text makes it fail otherwise than by issues", () => {
    const sign = fc.constantFrom("a", "b", "[", "]", ":", "=", " ", "\n", "#", "'", '"', "1", "\\", "children", "vars")
    fc.assert(fc.property(fc.array(sign, { maxLength: 40 }), (signs) => (issuesOf(signs.join("")), true)))
  })

  test("words that were quoted come back", () => {
    const text = fc.string({ unit: fc.constantFrom("a", " ", "'", '"', "\\", "#"), maxLength: 12 })
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 4 }), (words) => {
        const quoted = words.map((word) => `"${word.replaceAll(/["\\]/g, "\\$&")}"`).join(" ")
        expect(splitWords(quoted)).toEqual(words)
      }),
    )
  })
})

const yaml = `---
all:
  vars: {ansible_user: root, list: [1]}
  hosts:
    gateway: {ansible_host: 192.0.2.1}
  children:
    site:
      children:
        web:
          hosts:
            web[01:02].lan: {ansible_port: 2200}
          vars: {ansible_user: www, ansible_become: true}
        db:
          hosts:
            db1:
lonely:
  hosts: {db1: }
`

describe("YAML", () => {
  test("means the same as INI", () => {
    expect(namesOf(yaml, "hosts.yaml")).toEqual(["db1", "gateway", "web01.lan", "web02.lan"])
    expect(hostOf(yaml, "web02.lan", "hosts.yml")).toEqual({
      groups: ["site", "web"],
      ansible_user: "www",
      ansible_become: "true",
      ansible_port: "2200",
    })
    expect(hostOf(yaml, "db1", "x.yaml")).toEqual({ groups: ["db", "lonely", "site"], ansible_user: "root" })
    expect(namesOf(yaml, "-")).toHaveLength(4)
  })

  test.each([
    ["web:\n  hosts: [a]", "web.hosts"],
    ["web:\n  host: {a: }", "web.host"],
    ["plugin: aws_ec2", "plugin"],
    ["a: {hosts: {b: c}}", "a.hosts.b"],
    ["a: [", "1: "],
    ["- a", "a map from groups"],
  ])("%j says what is wrong, and where", (text, said) => {
    expect(issuesOf(text, "hosts.yaml").join("\n")).toContain(said)
  })
})
