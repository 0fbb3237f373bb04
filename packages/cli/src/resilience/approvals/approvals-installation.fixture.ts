import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { heldOperationsGet } from "@signalbox/contracts/approvals/held-operations"
import { approvalRequestsGet, approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { enrollmentKeysCreate } from "@signalbox/contracts/fleet/operations"
import { keysCreate } from "@signalbox/contracts/identity/operations"
import { serviceAccountsCreate } from "@signalbox/contracts/identity/people"
import { channelsApply } from "@signalbox/contracts/notifications/operations"
import type { CallInputOf, ResultOf } from "@signalbox/contracts/operation"
import { secretsPut } from "@signalbox/contracts/secrets/operations"
import { isAppError } from "@signalbox/kernel/app-error"
import { createClient, type Client } from "@signalbox/sdk/client"
import { HookReceiver, signingKey } from "@signalbox/server/services/notifications/notifications.fixture"
import { createTestDatabase, type TestDatabase } from "@signalbox/testkit/test-database"
import { urlOf } from "../connection-url.fixture.ts"
import { TestInstallation } from "../processes.fixture.ts"

/**
 * A server as a process of its own, on a database that the test can look into and hold still; a member who answers, a
 * requester whose calls are held, and a backend that gets results by callback.
 */
export interface ApprovalsInstallation {
  readonly installation: TestInstallation
  readonly database: TestDatabase
  readonly hooks: HookReceiver
  /** Starts the server, again after it was killed. */
  start(): Promise<void>
  as(who: "ada" | "requester" | "shop"): Client
  /** A request of the backend; gives id and digest. */
  submit(title: string): Promise<Asked>
  /** A call that is held; its witness is the row that it makes, which bears the title. */
  hold(title: string): Promise<Asked>
  /** Says yes, again where it was said already; gives false where nothing answers. */
  approve(asked: Asked): Promise<boolean>
  /** What the database shows of a held call that ran. */
  witness(title: string, asked: Asked): Promise<HeldWitness>
  stop(): Promise<void>
}

export interface Asked {
  readonly id: string
  readonly digest: string
}

export interface HeldWitness {
  readonly state: string
  /** Rows that the operation made. */
  readonly rows: number
  /** Audit records of the operation, done in the name of the request. */
  readonly records: number
  /** `approval-request.ran` events. */
  readonly told: number
}

/** Answers that say that the vote is in, or that nothing waits for it any more. */
const alreadyVoted = ["approvals.already-voted", "approvals.request-ended", "approvals.level-closed"]

export function done<T>(result: { readonly status: "done"; readonly value: T } | { readonly status: "held" }): T {
  if (result.status === "held") throw new Error("the call was held")
  return result.value
}

export async function openApprovals(words: readonly string[] = []): Promise<ApprovalsInstallation> {
  const database = await createTestDatabase()
  const hooks = new HookReceiver()
  const hookUrl = await hooks.start()
  const installation = await TestInstallation.create()
  const clients = new Map<string, Client>()
  const as = (who: string): Client => {
    const client = clients.get(who)
    if (!client) throw new Error(`there is no ${who}`)
    return client
  }
  const start = (): Promise<void> =>
    installation.startServer({
      words: ["--insecure", "--egress-allow", "127.0.0.1", ...words],
      variables: { DATABASE_URL: urlOf(database.connection) },
    })
  try {
    await start()
    const ada = await addPerson("ada", ["approver"])
    await addPerson("requester", ["admin"])
    await addPerson("shop", ["backend"])
    await configure(installation.client, { ada, hookUrl: `${hookUrl}/results` })
  } catch (error) {
    await stop()
    throw error
  }
  return { installation, database, hooks, start, as, ...acts(as, database), stop }

  async function addPerson(name: string, roles: CallInputOf<typeof keysCreate>["roles"]): Promise<string> {
    const { client } = installation
    const { id } = done(await client.call(serviceAccountsCreate, { name, roles }))
    const { key } = done(await client.call(keysCreate, { name, roles, owner: id }))
    clients.set(name, createClient({ url: client.url, key }))
    return id
  }

  async function stop(): Promise<void> {
    for (const client of clients.values()) await client.close()
    await installation.remove()
    await hooks.stop()
    await database.drop()
  }
}

async function configure(client: Client, of: { readonly ada: string; readonly hookUrl: string }): Promise<void> {
  done(await client.call(secretsPut, { name: "hook-key", value: signingKey }))
  const hook = { via: "webhook", url: of.hookUrl, signingSecret: "hook-key" } as const
  done(await client.call(channelsApply, { name: "shop", ...hook }))
  done(await client.call(approvalGroupsApply, { name: "leads", members: [{ principal: of.ada }] }))
  const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
  done(await client.call(templatesApply, { name: "one", levels }))
  for (const [name, selector] of [
    ["orders", { type: "purchase" }],
    ["keys", { operation: enrollmentKeysCreate.name }],
    ["runs", { operation: "executions.create" }],
  ] as const)
    done(await client.call(associationsApply, { name, template: "one", selector }))
}

type Acts = Pick<ApprovalsInstallation, "submit" | "hold" | "approve" | "witness">

function acts(as: ApprovalsInstallation["as"], { database }: TestDatabase): Acts {
  const find = async (id: string): Promise<Asked> => {
    const { digest } = await as("ada").call(approvalRequestsGet, { request: id })
    return { id, digest }
  }
  return {
    async submit(title) {
      const order = { type: "purchase", title, content: { title }, callback: "shop" }
      return await find(done(await as("shop").call(approvalRequestsSubmit, order)).id)
    },
    async hold(title) {
      return await find(requestOf(await as("requester").call(enrollmentKeysCreate, { name: title })))
    },
    async approve({ id, digest }) {
      try {
        await as("ada").call(approvalRequestsApprove, { request: id, digest })
        return true
      } catch (error) {
        if (!isAppError(error)) throw error
        return alreadyVoted.includes(error.code)
      }
    },
    async witness(title, { id }) {
      const { state } = await as("requester").call(heldOperationsGet, { request: id })
      const [row] = await database.query<Omit<HeldWitness, "state">>(
        `select (select count(*)::int from enrollment_keys where name = $1) as rows,
           (select count(*)::int from audit where caused_by = $2 and outcome = 'done') as records,
           (select count(*)::int from outbox where subject = $2 and type = 'approval-request.ran') as told`,
        [title, id],
      )
      return { state, rows: row?.rows ?? 0, records: row?.records ?? 0, told: row?.told ?? 0 }
    },
  }
}

/** The id of the request that a held call waits for. */
export function requestOf(
  result: ResultOf<typeof enrollmentKeysCreate> | { status: string; requestUrl?: string },
): string {
  if (result.status !== "held" || !("requestUrl" in result)) throw new Error("the call was not held")
  return String(result.requestUrl).replace(/^.*\//, "")
}
