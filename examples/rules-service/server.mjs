// A rules service that is not Signalbox's: it is asked before each call of the operations whose row in the routing map
// names it, and answers with what its rules do: what gates the call, and operations that follow it once it was carried
// out, in the name of the service account that the map gives it. Run it: node server.mjs 8700 signalbox-signing-key.pem
import { createHash, createPublicKey, verify } from "node:crypto"
import { readFileSync } from "node:fs"
import { createServer } from "node:http"

const [port = "8700", keyFile] = process.argv.slice(2)
const name = process.env.RULES_SERVICE_NAME ?? "judge"
const publicKey = keyFile && createPublicKey(readFileSync(keyFile))
const bodyBytesMax = 2 * 1024 * 1024

/** The rules: what they look at and what they do is up to this service. */
function decide({ trigger, caller, input }) {
  if (trigger.operation.startsWith("ext.")) return decideOutside({ trigger, input })
  if (trigger.operation !== "groups.put") return []
  const name = String(input.name)
  if (name.startsWith("prod-") && !caller.roles.includes("platform"))
    return [{ rule: "production-groups", version: 1, action: "deny", input: { reason: "ask the platform team" } }]
  const actions = []
  if (input.description === undefined)
    actions.push({
      ...{ rule: "describe-groups", version: 1, action: "rewrite" },
      input: { fields: { description: "not described" } },
    })
  if (name.startsWith("pool-"))
    actions.push({
      ...{ rule: "register-pools", version: 2, action: "resources.apply", targets: [name] },
      input: { name, kind: "pool", tags: { group: name } },
    })
  return actions
}

/** Of a call to a service outside the input is { path, query, headers, body }; the body is there where it is JSON. */
function decideOutside({ trigger, input }) {
  if (trigger.operation !== "ext.billing.voidInvoice") return []
  const { path, body } = input
  if (!body?.reason)
    return [{ rule: "void-with-reason", version: 1, action: "deny", input: { reason: "say why, in body.reason" } }]
  return [
    { rule: "void-tells", version: 1, action: "rewrite", input: { fields: { "query.notify": true } } },
    {
      ...{ rule: "void-noted", version: 1, action: "resources.apply", targets: [`invoice-${path.id}`] },
      input: { name: `invoice-${path.id}`, kind: "invoice", tags: { state: "void" } },
    },
  ]
}

const canonical = (value) =>
  value === null || typeof value !== "object"
    ? JSON.stringify(value)
    : Array.isArray(value)
      ? `[${value.map(canonical).join(",")}]`
      : `{${Object.keys(value)
          .sort()
          .map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)
          .join(",")}}`

/** Whether the call comes from the installation whose key this is, for this service, now, and with this body. */
function isGenuine(authorization, body) {
  if (!publicKey) return true
  const [header, claims, signature] = (authorization ?? "").replace(/^Bearer /, "").split(".")
  if (!header || !claims || !signature) return false
  if (!verify(null, Buffer.from(`${header}.${claims}`), publicKey, Buffer.from(signature, "base64url"))) return false
  const { aud, sub, exp, digest } = JSON.parse(Buffer.from(claims, "base64url").toString())
  const expected = createHash("sha256").update(canonical(body)).digest("base64url")
  return aud === name && sub === "rules.decide" && exp * 1000 > Date.now() - 10_000 && digest === expected
}

const server = createServer((request, response) => {
  const chunks = []
  let bytes = 0
  request.on("data", (chunk) => {
    bytes += chunk.length
    if (bytes > bodyBytesMax) request.destroy()
    chunks.push(chunk)
  })
  request.on("end", () => {
    const reply = (status, body) =>
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body))
    try {
      const body = JSON.parse(Buffer.concat(chunks).toString("utf8"))
      if (!isGenuine(request.headers.authorization, body))
        return reply(401, { error: "not a call of that installation" })
      return reply(200, { trigger: body.trigger, actions: decide(body) })
    } catch {
      return reply(400, { error: "not a call of Signalbox" })
    }
  })
})
server.listen(Number(port), "127.0.0.1", () => process.stdout.write(`listening on ${server.address().port}\n`))
