import { execFile } from "node:child_process"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { z } from "zod"
import { parseInventory } from "./inventory.ts"

/** What Ansible itself makes of an inventory is what is meant by it. */
const run = promisify(execFile)
const hasAnsible = await run("ansible-inventory", ["--version"]).then(
  () => true,
  () => false,
)
if (!hasAnsible && process.env["SIGNALBOX_TEST_PROGRAMS"] === "required")
  throw new Error("ansible-inventory is missing")

const group = z.object({ hosts: z.array(z.string()).default([]), children: z.array(z.string()).default([]) })
const listing = z
  .object({ _meta: z.object({ hostvars: z.record(z.string(), z.record(z.string(), z.unknown())) }) })
  .catchall(group)

let directory: string
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox inventories "))
  // Nobody's own settings.
  await writeFile(join(directory, "ansible.cfg"), "[defaults]\n")
})
afterAll(() => rm(directory, { recursive: true }))

interface Meaning {
  readonly hosts: Readonly<Record<string, { readonly groups: readonly string[]; readonly variables: object }>>
  readonly groups: readonly string[]
}

/** Values as text: Ansible reads numbers and truth values, which nothing here depends on. */
const textOf = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value))

async function meaningToAnsible(text: string, file: string): Promise<Meaning> {
  const path = join(directory, file)
  await writeFile(path, text)
  const environment = {
    ...process.env,
    HOME: directory,
    ANSIBLE_CONFIG: join(directory, "ansible.cfg"),
    LC_ALL: "C.UTF-8",
  }
  const { stdout } = await run("ansible-inventory", ["-i", path, "--list"], { env: environment })
  const { _meta, ...groups } = listing.parse(JSON.parse(stdout))
  const named = Object.keys(groups).filter((name) => name !== "all" && name !== "ungrouped")
  const membersOf = (name: string): string[] => {
    const { hosts, children } = groups[name] ?? { hosts: [], children: [] }
    return [...hosts, ...children.flatMap(membersOf)]
  }
  const hosts = Object.fromEntries(
    [...new Set(membersOf("all"))].map((host) => [
      host,
      {
        groups: named.filter((name) => membersOf(name).includes(host)).toSorted(),
        variables: Object.fromEntries(
          Object.entries(_meta.hostvars[host] ?? {}).map(([name, value]) => [name, textOf(value)]),
        ),
      },
    ]),
  )
  return { hosts, groups: named.toSorted() }
}

function meaningToUs(text: string, file: string): Meaning {
  const { hosts, groups } = parseInventory(text, file)
  const entries = hosts.map(({ name, groups: its, variables }) => {
    return [name, { groups: its, variables: Object.fromEntries(variables) }] as const
  })
  // Ansible's list leaves out groups without hosts.
  const used = groups.filter((name) => hosts.some((host) => host.groups.includes(name)))
  return { hosts: Object.fromEntries(entries), groups: used }
}

const inventories: ReadonlyArray<readonly [what: string, file: string, text: string]> = [
  [
    "groups of groups, whose variable counts, ports, quotes, comments",
    "hosts.ini",
    `gateway ansible_host=192.0.2.1 ansible_user=admin  # a comment
[web]
web[01:02].lan:2222 ansible_port=2200
odd note='two words' x=a=b
[db]
db[a:c:2]
odd
; another comment
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
`,
  ],
  [
    "ranges with zeros, steps and two in one name",
    "ranges.ini",
    "[many]\nnode[08:11].lan\nr[1:2]n[a:b]\ns[1:9:4]\n[few]\nnode09.lan\nr1na level=3\n",
  ],
  [
    "a deeper group over a higher one, a group without hosts",
    "deep.ini",
    "[low]\nh1\nh2 v=own\n[middle:children]\nlow\n[high:children]\nmiddle\n[empty]\n[low:vars]\nv=low\n[middle:vars]\nv=middle\nw=middle\n[high:vars]\nv=high\nw=high\nu=high\n",
  ],
  [
    "YAML",
    "hosts.yaml",
    `all:
  vars: { ansible_user: root, level: 1 }
  hosts:
    gateway: { ansible_host: 192.0.2.1 }
  children:
    site:
      vars: { ansible_user: deploy }
      children:
        web:
          hosts:
            web[01:03].lan: { weight: 7 }
          vars: { ansible_user: www }
        db:
          hosts:
            db1:
            web02.lan: { note: two words }
`,
  ],
]

describe.skipIf(!hasAnsible)("X7: an inventory means to us what it means to Ansible", () => {
  test.each(inventories)(
    "%s",
    async (...[, file, text]) => {
      const theirs = await meaningToAnsible(text, file)
      expect(Object.keys(theirs.hosts).length).toBeGreaterThan(1)
      expect(meaningToUs(text, file)).toEqual(theirs)
    },
    120_000,
  )
})
