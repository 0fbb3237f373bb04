import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { bracketsFor, findDifference, placeholderNode, shownAt } from "./order-template.ts"

const target = { id: "nod_1", name: "web-1", tags: { role: "web", dir: "/srv" } }

/** An order as a server makes it of a node. */
function orderOf({ id, name, tags }: { id: string; name: string; tags: Record<string, string> }, command = "true") {
  return {
    save: [`${tags["dir"]}/${name}`, "etc/app"],
    steps: [
      {
        name: "put",
        command: { shell: command },
        environment: { NODE: id, TEXT: ["a ", name, { secret: "key" }, tags["role"]] },
        file: { path: `${tags["dir"]}`, content: `${name} ${tags["role"]}` },
      },
    ],
    timeoutMilliseconds: 1000,
    facts: { params: { v: "1" }, node: { id, name, tags } },
  }
}

/** Paths on a node begin without a slash. */
function asSent(order: ReturnType<typeof orderOf>) {
  const strip = (path: string): string => path.replace(/^\/+/, "")
  const steps = order.steps.map((step) => ({ ...step, file: { ...step.file, path: strip(step.file.path) } }))
  return { ...order, save: order.save.map(strip), steps }
}

function compare(order: object, brackets = 1): string | undefined {
  const template = orderOf(placeholderNode(brackets, ["role", "dir"]))
  return findDifference(template, order, { brackets, target })
}

describe("A18: an order is what was approved", () => {
  test("with the node's own values in it", () => {
    expect(compare(asSent(orderOf(target)))).toBeUndefined()
    expect(compare(asSent(orderOf(target)), 3)).toBeUndefined()
  })

  test("and nothing else: the first difference is named", () => {
    const order = asSent(orderOf(target))
    const [step] = order.steps
    const differences: Array<[object, string]> = [
      [asSent(orderOf(target, "false")), "steps.0.command.shell"],
      [asSent(orderOf({ ...target, name: "web-2" })), "save.0"],
      [asSent(orderOf({ ...target, tags: { ...target.tags, role: "db" } })), "steps.0.environment.TEXT.3"],
      [{ ...order, save: [] }, "save.0"],
      [{ ...order, save: [...order.save, "etc/shadow"] }, "save.2"],
      [{ ...order, whole: true }, "whole"],
      [{ ...order, timeoutMilliseconds: 1001 }, "timeoutMilliseconds"],
      [{ ...order, steps: [{ ...step, user: "root" }] }, "steps.0.user"],
      [{ ...order, steps: [step, step] }, "steps.1"],
      [{ ...order, steps: { 0: step } }, "steps"],
      [{ ...order, facts: { ...order.facts, node: { ...target, tags: {} } } }, "facts.node.tags.role"],
      [{ ...order, facts: undefined }, "facts"],
    ]
    for (const [changed, place] of differences) expect(compare(changed)).toBe(place)
  })

  test("a slash before a path is no difference, before anything else it is", () => {
    const order = asSent(orderOf(target))
    expect(compare({ ...order, save: ["/srv/web-1", "/etc/app"] })).toBeUndefined()
    const [step] = order.steps
    expect(compare({ ...order, steps: [{ ...step, command: { shell: "/true" } }] })).toBe("steps.0.command.shell")
  })
})

test("A18: no text of a workflow can pass for a placeholder", () => {
  const texts = fc.string({ unit: fc.constantFrom("‹", "›", "node.name", "node.id", " ") })
  fc.assert(
    fc.property(texts, texts, (literal, name) => {
      const brackets = bracketsFor(literal)
      const { name: placeholder } = placeholderNode(brackets, [])
      const of = (node: string) => ({ command: `${literal}${node}${literal}`, plain: literal })
      const node = { ...target, name }
      expect(findDifference(of(placeholder), of(name), { brackets, target: node })).toBeUndefined()
      expect(findDifference(of(placeholder), of(`${name}!`), { brackets, target: node })).toBe("command")
    }),
  )
})

test("what differs is shown, shortened", () => {
  expect(shownAt({ steps: [{ user: "root" }] }, "steps.0.user")).toBe('"root"')
  expect(shownAt({ steps: [] }, "steps.0.user")).toBe("nothing")
  expect(shownAt({ text: "x".repeat(500) }, "text")).toHaveLength(121)
})
