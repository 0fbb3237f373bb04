import { request } from "node:https"
import { actionsGet } from "@signalbox/contracts/actions/operations"
import { AppError } from "@signalbox/kernel/app-error"
import { demoLimits } from "./demo-plan.ts"
import type { CanaryEvidence } from "./rules-claims.ts"
import { canaryDocument } from "./rules-documents.ts"
import { rulesPlan } from "./rules-plan.ts"
import { lookAfter, lookBefore, showRun } from "./run-observation.ts"
import { applyDocuments, type CommandParts, runCommand, waitUntil } from "./story-commands.ts"

/** Two ordinary calls that a rule follows; the reply of each names the run. */
export async function followCalls(parts: CommandParts): Promise<CanaryEvidence[]> {
  const [byHttp, byCommand] = rulesPlan.canaries
  parts.screen.title("3. A rule that follows an ordinary call: a node that joins the canaries gets the new version")
  await applyDocuments(parts, "canaries.yaml", canaryDocument)
  return [
    await follow(parts, byHttp, () => tagByHttp(parts, byHttp)),
    await follow(parts, byCommand, async () => {
      const said = await runCommand(parts, ["nodes", "update", byCommand, "--tag", "ring=canary"])
      return said.match(/\/v1\/actions\/act_\w+/g) ?? []
    }),
  ]
}

/** Makes the call, goes where its reply points to, and looks at the run there. */
async function follow(
  parts: CommandParts,
  node: string,
  call: () => Promise<readonly string[]>,
): Promise<CanaryEvidence> {
  const { client, signal } = parts
  const before = await lookBefore(parts)
  const named = await call()
  const action = named[0]?.slice("/v1/actions/".length)
  if (action === undefined) throw new AppError("demo.part-failed", `the reply about ${node} names no run`)
  // It is queued in a moment; until then it is not there.
  const run = await waitUntil(parts, `the end of ${action}`, async () => {
    const found = await client.call(actionsGet, { action }, { signal }).catch(() => undefined)
    return found?.finishedAt === undefined ? undefined : found
  })
  const executionId = run.started ?? ""
  await showRun(parts, executionId, before.from)
  const { nodes } = await lookAfter(parts, executionId, before)
  return { node, named, rule: run.rule, state: run.state, executionId, nodes }
}

/** A plain HTTPS call; gives what its header names. */
async function tagByHttp({ server, screen, signal }: CommandParts, node: string): Promise<string[]> {
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const call = request(
    new URL(`/v1/nodes/${node}`, server.url),
    {
      ...{ method: "PATCH", ca: server.caPem, signal, agent: false, timeout: demoLimits.mailMilliseconds },
      headers: {
        authorization: `Bearer ${server.key}`,
        "content-type": "application/json",
        "idempotency-key": `demo-${node}`,
      },
    },
    (response) => {
      const header = response.headers["signalbox-started"]
      screen.line(`  ${screen.paint("bold", `$ curl -X PATCH …/v1/nodes/${node} -d '${body}'`)}`)
      screen.line(`  ${screen.paint("gray", `HTTP ${response.statusCode}, Signalbox-Started: ${String(header)}`)}`)
      response.resume().once("end", () => resolve(typeof header === "string" ? header : ""))
    },
  )
  const body = JSON.stringify({ tags: { ring: "canary" } })
  call.once("error", reject)
  call.end(body)
  const header = await promise
  return header === "" ? [] : header.split(/,\s*/)
}
