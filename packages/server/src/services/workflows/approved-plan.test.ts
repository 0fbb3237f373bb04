import { leafHash, MerkleTree } from "@signalbox/attestation/merkle-tree"
import { findDifference } from "@signalbox/attestation/order-template"
import { approvalLimits } from "@signalbox/contracts/approvals/approval-limits"
import { eachNodePlan, signatureLimits } from "@signalbox/contracts/approvals/signed-votes"
import { taskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { expect, test } from "vitest"
import { eachNodePlanOf, fitting, provenTargetOf } from "./approved-plan.ts"
import { orderBuilderOf } from "./run-plan.ts"
import { chooseStrategy } from "./strategy-model.ts"
import { getWorkflow } from "./workflow-text.ts"

const text = (command: string) => `kind: Workflow
name: everything
parameters:
  version: {}
save: ["\${{ node.tags.dir }}/conf", "etc/\${{ node.name }}"]
rollback: all
retry: { attempts: 3 }
steps:
  - run: ${JSON.stringify(command)}
    env: { WHERE: "\${{ node.tags.dir }}", KEY: "\${{ secrets.key }} of \${{ node.id }}" }
    undo: [echo, "\${{ node.name }}"]
  - file: { path: "\${{ node.tags.dir }}/motd", content: "‹node.name› \${{ node.name }}" }
    when: node.tags.role == "web"
  - wait: { port: "80", host: "\${{ node.name }}" }
  - service: { name: "app@\${{ node.name }}", state: restarted }
`

function runOf(command: string) {
  const { document } = getWorkflow(text(command))
  const parts = { secrets: { key: 1 }, artifacts: {} }
  return { document, parameters: { version: "1" }, parts, strategy: chooseStrategy({}, document) }
}

const node = (number: number, dir: string) => ({
  ...{ id: `nod_${number}`, name: `web-${number}`, state: "online" as const },
  tags: { dir, role: "web", other: "not named" },
})

test("A18: what is approved is the order of every node, with its own values in it", () => {
  const run = runOf("echo ${{ params.version }} ${{ node.name }} '‹‹'")
  const nodes = [node(2, "/srv/two"), node(1, "opt")] as never[]
  const plan = eachNodePlan.parse(JSON.parse(JSON.stringify(eachNodePlanOf({ ...run, nodes }))))
  expect(plan).toMatchObject({ brackets: 3, attemptsMax: 3, targetsCount: 2 })
  const builder = orderBuilderOf(run.document, run)
  const targets = [node(1, "opt"), node(2, "/srv/two")].map(({ id, name, tags: { dir, role } }) =>
    provenTargetOf({ id, name, tags: { dir, role } }),
  )
  expect(plan.targetsRoot).toBe(new MerkleTree(targets.map(leafHash)).root)
  for (const target of targets) {
    const order = taskOrder.parse(JSON.parse(JSON.stringify(builder.build(target))))
    const { brackets } = plan
    expect(findDifference(plan.order ?? {}, order, { brackets, target })).toBeUndefined()
    const another = { ...target, tags: { ...target.tags, dir: "/etc" } }
    expect(findDifference(plan.order ?? {}, order, { brackets, target: another })).toBe("save.0")
    expect(JSON.stringify(order)).not.toContain("‹‹‹")
  }
})

test("A18: an order that is too long is left out, and the call can be held all the same", () => {
  const command = `: ${"x".repeat(60_000)}`
  const plan = eachNodePlanOf({ ...runOf(command), nodes: [node(1, "opt")] as never[] })
  expect(fitting(plan, "a little").order).toBeDefined()
  const { contentBytesMax } = approvalLimits
  const { order: _, ...rest } = plan
  expect(fitting(plan, "x".repeat(contentBytesMax - 50_000))).toEqual(rest)
  const long = `: ${"x".repeat(signatureLimits.spelledOrderBytesMax - 100)}`
  expect(eachNodePlanOf({ ...runOf(long), nodes: [node(1, "opt")] as never[] }).order).toBeUndefined()
})
