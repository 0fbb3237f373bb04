/**
 * A backend that administers: it restarts the web service of an instance when somebody with the right to has said yes.
 * It asks for that itself, and acts on the result that comes back, signed, by its callback channel.
 *
 *     SIGNALBOX_SERVER=… SIGNALBOX_KEY=… PORT=8099 node administrator.ts
 *     curl -X POST http://127.0.0.1:8099/restart/ins_…
 */
import { createPublicKey } from "node:crypto"
import { createServer, type IncomingMessage } from "node:http"
import { readStatement } from "@signalbox/attestation/signed-envelope"
import { approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import { resultStatementType, type SignedEnvelope } from "@signalbox/contracts/approvals/signed-votes"
import { signingKeysList } from "@signalbox/contracts/audit/chain-operations"
import { instancesGet } from "@signalbox/contracts/catalog/instances"
import { executionsCreate } from "@signalbox/contracts/workflows/operations"
import { connect, say, setting } from "./settings.ts"

interface Result {
  readonly request: string
  readonly result: "approved" | "denied" | "cancelled"
  readonly digest: string
  readonly attributes: Readonly<Record<string, string>>
}

const client = connect()
const bodyBytesMax = 1024 * 1024

/** Asks. What comes of it is told to the channel, whenever that may be. */
async function askForRestart(id: string): Promise<string> {
  const instance = await client.call(instancesGet, { instance: id })
  const reply = await client.call(approvalRequestsSubmit, {
    type: "restart",
    title: `Restart the web service of ${instance.name ?? id}`,
    attributes: { product: instance.product, portfolio: instance.portfolio, action: "restart-web", topic: id },
    content: { instance: id, node: instance.outputs["node"], workflow: "restart-web" },
    requester: { principal: instance.owner },
    callback: "web-administrator",
  })
  if (reply.status === "held") throw new Error("a request is never held itself")
  return reply.value.id
}

/** Believes nothing that the installation has not signed. */
async function readResult(body: string): Promise<Result | undefined> {
  const { data } = JSON.parse(body) as { data?: { envelope?: SignedEnvelope } }
  const { items } = await client.call(signingKeysList, {})
  const keys = items.map(({ publicKey }) => createPublicKey(publicKey))
  const read = data?.envelope && readStatement(data.envelope, resultStatementType, keys)
  return read?.statement as Result | undefined
}

/** A result may come twice: the run's Idempotency-Key is the request's, so there is one run. */
async function act({ request, result, attributes }: Result): Promise<void> {
  if (result !== "approved" || attributes["action"] !== "restart-web") return say(`${request}: ${result}`)
  const instance = await client.call(instancesGet, { instance: attributes["topic"] ?? "" })
  const run = { workflow: "restart-web", targets: { nodes: [instance.outputs["node"] ?? ""] } }
  const reply = await client.call(executionsCreate, run, { idempotencyKey: `restart-${request}` })
  say(`${request}: approved, ${reply.status === "done" ? reply.value.id : "held once more"}`)
}

async function readBody(request: IncomingMessage): Promise<string> {
  let text = ""
  for await (const chunk of request.setEncoding("utf8")) {
    text += String(chunk)
    if (text.length > bodyBytesMax) throw new Error("the body is too large")
  }
  return text
}

async function answer(request: IncomingMessage): Promise<{ readonly status: number; readonly text: string }> {
  const [, verb = "", id = ""] = (request.url ?? "").split("/")
  if (request.method !== "POST") return { status: 405, text: "POST /restart/ins_…" }
  if (verb === "restart") return { status: 202, text: await askForRestart(id) }
  if (verb !== "results") return { status: 404, text: "POST /restart/ins_…" }
  const result = await readResult(await readBody(request))
  if (!result) return { status: 403, text: "not signed by the installation" }
  await act(result)
  return { status: 204, text: "" }
}

createServer((request, response) => {
  answer(request).then(
    ({ status, text }) => response.writeHead(status).end(text),
    (error: unknown) => {
      say(String(error))
      response.writeHead(500).end(String(error))
    },
  )
}).listen(Number(setting("PORT")), "127.0.0.1", () => say("ready"))
