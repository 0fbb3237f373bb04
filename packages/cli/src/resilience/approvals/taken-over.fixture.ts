import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { keysCreate } from "@signalbox/contracts/identity/operations"
import { serviceAccountsCreate } from "@signalbox/contracts/identity/people"
import type { CallInputOf } from "@signalbox/contracts/operation"
import { type executionsCreate, tasksGet, workflowsApply } from "@signalbox/contracts/workflows/operations"
import { newId } from "@signalbox/kernel/id"
import { systemClock, systemRandom } from "@signalbox/server/system"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { urlOf } from "../connection-url.fixture.ts"
import { TestInstallation } from "../processes.fixture.ts"
import { waitForRunEnd } from "../run-evidence.fixture.ts"
import { done } from "./approvals-installation.fixture.ts"

/**
 * A server as a process, whose database the test writes into as somebody would who has taken it over; two members who
 * sign on machines of their own, and two nodes whose policy wants both signatures.
 */
export interface TakenOver {
  readonly installation: TestInstallation
  readonly database: TestDatabase
  readonly trustFile: string
  /** Variables by which a command runs as the administrator. */
  asAdmin(): Promise<NodeJS.ProcessEnv>
  /** Holds a run; gives the request. `notBefore` keeps what is approved from running by itself. */
  hold(input: CallInputOf<typeof executionsCreate>, options?: { readonly notBefore?: string }): Promise<Asked>
  /** A member's yes, by command; signed unless said otherwise. */
  approve(who: Member, asked: Asked, options?: { readonly isSigned?: boolean }): Promise<void>
  /** The run that an approved call has made. */
  runOf(asked: Asked): Promise<string>
  /** Writes a run into the database, like another one but for what is forged; gives its id. */
  forge(like: string, forgery: Forgery): Promise<string>
  /** How the only task of a run ended on its node. */
  endOf(execution: string): Promise<{ state: string; class?: string | undefined; message: string }>
  /** What the runs have written on a node. */
  written(node: string): Promise<string>
  stop(): Promise<void>
}

export type Member = "ada" | "ben"

export interface Asked {
  readonly id: string
  readonly digest: string
}

export interface Forgery {
  /** The request whose approval it claims. */
  readonly approval: string | null
  readonly node?: string
  readonly parameters?: Readonly<Record<string, string>>
  /** Of the workflow's definition. */
  readonly replace?: readonly [string, string]
}

export const deploy = `kind: Workflow
name: deploy
parameters:
  version: {}
save: [deployed.txt]
steps:
  - name: put
    run: echo "\${{ node.name }} has \${{ params.version }}" >> deployed.txt
`

export async function openTakenOver(): Promise<TakenOver> {
  const database = await createTestDatabase()
  const installation = await TestInstallation.create()
  const keys = new Map<Member, string>()
  const trustFile = join(installation.directory, "trust.yaml")
  const stop = async (): Promise<void> => {
    await installation.remove()
    await database.drop()
  }
  try {
    await installation.startServer({ words: ["--insecure"], variables: { DATABASE_URL: urlOf(database.connection) } })
    const lines: string[] = []
    for (const name of ["ada", "ben"] as const) {
      keys.set(name, await addMember(installation, name))
      const made = await installation.succeed(
        ["approvals", "keygen", keyFile(installation, name), "--json"],
        loginOf(installation, keys.get(name)),
      )
      const { publicKey } = JSON.parse(made) as { publicKey: string }
      lines.push(`  - { member: ${name}, key: "${publicKey}" }`)
    }
    const trust = `quorum: 2\nkeys:\n${lines.join("\n")}\n`
    await writeFile(trustFile, trust)
    const policyFile = join(installation.directory, "policy.yaml")
    await writeFile(policyFile, `approvals:\n${trust.replaceAll(/^/gm, "  ").trimEnd()}\n`, { mode: 0o644 })
    await installation.addNodes(["web-1", "web-2"], { policyFile })
    await configure(installation)
  } catch (error) {
    await stop()
    throw error
  }
  return { installation, database, trustFile, ...acts(installation, database, keys), stop }
}

const keyFile = (installation: TestInstallation, name: Member): string => join(installation.directory, `${name}.key`)

function loginOf(installation: TestInstallation, key = ""): NodeJS.ProcessEnv {
  return { SIGNALBOX_SERVER: installation.client.url, SIGNALBOX_KEY: key }
}

async function addMember({ client }: TestInstallation, name: Member): Promise<string> {
  const roles = ["approver"] as const
  const { id } = done(await client.call(serviceAccountsCreate, { name, roles: [...roles] }))
  return done(await client.call(keysCreate, { name, roles: [...roles], owner: id })).key
}

async function configure({ client }: TestInstallation): Promise<void> {
  const members = [{ principal: "ada" }, { principal: "ben" }]
  done(await client.call(approvalGroupsApply, { name: "leads", members }))
  const level = { name: "leads", group: "leads", strategy: { kind: "all" } } as const
  done(await client.call(templatesApply, { name: "signed", levels: [{ ...level, signedVotes: "required" }] }))
  done(await client.call(templatesApply, { name: "plain", levels: [level] }))
  for (const [name, template] of [
    ["deploy", "signed"],
    ["loose", "plain"],
  ] as const) {
    done(await client.call(workflowsApply, { name, document: deploy.replace("name: deploy", `name: ${name}`) }))
    const selector = { operation: "executions.create", workflow: name }
    done(await client.call(associationsApply, { name, template, selector }))
  }
}

type Acts = Omit<TakenOver, "installation" | "database" | "trustFile" | "stop">

function acts(installation: TestInstallation, database: TestDatabase, keys: ReadonlyMap<Member, string>): Acts {
  const { client } = installation
  return {
    asAdmin: async () => loginOf(installation, (await installation.admin()).key),
    async hold(input, { notBefore } = {}) {
      const { key } = await installation.admin()
      const reply = await fetch(`${client.url}/v1/executions`, {
        method: "POST",
        headers: {
          authorization: `Bearer ${key}`,
          "content-type": "application/json",
          "idempotency-key": crypto.randomUUID(),
          ...(notBefore === undefined ? {} : { "signalbox-not-before": notBefore }),
        },
        body: JSON.stringify(input),
      })
      const { requestUrl } = (await reply.json()) as { requestUrl?: string }
      if (reply.status !== 202 || requestUrl === undefined) throw new Error(`not held: ${reply.status}`)
      const id = requestUrl.slice(requestUrl.lastIndexOf("/") + 1)
      const { digest } = await client.call(approvalRequestsGet, { request: id })
      return { id, digest }
    },
    async approve(who, { id, digest }, { isSigned = true } = {}) {
      const signing = isSigned ? ["--sign-with", keyFile(installation, who)] : []
      const words = ["approvals", "approve", id, "--digest", digest, ...signing]
      await installation.succeed(words, loginOf(installation, keys.get(who)))
    },
    runOf: (asked) =>
      installation.eventually("the approved call to run", async () => {
        const held = await client.call(heldOperationsGet, { request: asked.id })
        if (held.error) throw new Error(held.error.message)
        return (held.result as { id?: string } | undefined)?.id
      }),
    forge: (like, forgery) => forge(database, like, forgery),
    async endOf(execution) {
      await waitForRunEnd(installation, execution)
      const task = await client.call(tasksGet, { execution, task: "0" })
      return { state: task.state, class: task.class, message: task.message ?? "" }
    },
    written: (node) => readFile(join(installation.node(node).root, "deployed.txt"), "utf8").catch(() => ""),
  }
}

/** As the server itself would write it, so that nothing but the node can know. */
async function forge({ database }: TestDatabase, like: string, forgery: Forgery): Promise<string> {
  const id = newId("execution", systemClock, systemRandom)
  const { approval, node, parameters, replace = ["", ""] } = forgery
  await database.transaction(async (tx) => {
    await tx.query(
      `insert into executions (id, account, state, workflow_name, workflow_version, targets_text, targets_count,
         concurrency, width, error_limit, errors_max, counts, rollbacks, version, cause, caused_by, depth, created_by)
       select $2, account, 'planning', workflow_name, workflow_version, targets_text, targets_count, concurrency, width,
         error_limit, errors_max,
         (select json_object_agg(key, case key when 'queued' then targets_count else 0 end) from json_each(counts)),
         rollbacks, 1, cause, caused_by, depth, created_by
       from executions where id = $1`,
      [like, id],
    )
    await tx.query(
      `insert into execution_plans (execution_id, account, definition, parameters, targets, targets_max, strategy, parts,
         approval)
       select $2, account, replace(definition::text, $3, $4)::json, coalesce($5::json, parameters),
         coalesce($6::json, targets), targets_max, strategy, parts, $7
       from execution_plans where execution_id = $1`,
      [
        like,
        id,
        replace[0],
        replace[1],
        parameters === undefined ? null : JSON.stringify(parameters),
        node === undefined ? null : JSON.stringify({ nodes: [node] }),
        approval,
      ],
    )
  })
  return id
}
