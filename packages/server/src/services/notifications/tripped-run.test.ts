import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { newPublicKey, startServerFixture, type ServerFixture } from "../../http/edge.fixture.ts"
import { failed, FixtureExecutor, succeeded } from "../workflows/workflows.fixture.ts"
import { eventually, MailReceiver } from "./notifications.fixture.ts"

/** A whole server, a run of it, and a mail server: what a person on call gets. */
let directory: string
let mail: MailReceiver
let server: ServerFixture

const nodeNames = Array.from({ length: 6 }, (_, index) => `web-${index}`)
const document = `kind: Workflow
name: web-config
steps:
  - name: change
    run: ["true"]
`

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "signalbox mail "))
  mail = new MailReceiver()
  await mail.start(directory)
  let tasks = 0
  const executor = new FixtureExecutor(() => (++tasks === 1 ? succeeded : failed))
  const settings = { url: mail.url, from: "signalbox@example.org", startTls: "require", caPem: mail.caPem } as const
  server = await startServerFixture({ mail: settings, executor })
})

afterAll(async () => {
  await server.stop()
  await mail.stop()
  await rm(directory, { recursive: true })
})

const send = (method: string, path: string, body: unknown) => server.call(server.platformKey, method, path, body)

test("X9: a run that trips mails whoever is on call, with what a person has to know at night", async () => {
  const enrollment = (await send("POST", "/v1/enrollment-keys", { usesMax: 10 })).body["key"] as string
  for (const name of nodeNames)
    await server.call(enrollment, "POST", "/v1/nodes:enroll", { name, machineId: name, publicKey: newPublicKey() })
  const channel = { via: "mail", to: ["night@example.org"] }
  expect((await send("PUT", "/v1/channels/on-call", channel)).status).toBe(200)
  const subscription = { channel: "on-call", events: ["execution.tripped"], when: "event.data.reason != null" }
  expect((await send("PUT", "/v1/subscriptions/tripped", subscription)).status).toBe(200)
  const run = await send("POST", "/v1/executions", {
    document,
    targets: { nodes: nodeNames },
    concurrency: 1,
    errorLimit: 1,
  })
  expect(run.status, JSON.stringify(run.body)).toBe(200)
  const id = run.body["id"] as string
  const [received] = await eventually(() => mail.mails.length > 0 && mail.mails)
  const text = (received?.text ?? "").replaceAll("=\r\n", "").replaceAll("=3D", "=")
  for (const said of [
    /Subject: \[Signalbox\] web-config tripped: stopped by itself: 2 of 6 targets/,
    /Why: +stopped by itself: 2 of 6 targets failed, 1 tolerated/,
    /Targets: +1 of 6 ok/,
    /Failed: +2 failed/,
    /Never started: +3/,
    /Started by: +key:key_/,
    new RegExp(`signalbox why ${id}`),
    new RegExp(`http://127.0.0.1/v1/executions/${id}`),
  ])
    expect(text).toMatch(said)
  const list = async () => (await server.call(server.platformKey, "GET", "/v1/deliveries")).body["items"]
  await eventually(async () => JSON.stringify(await list()).includes('"state":"delivered"'))
  expect(await list()).toEqual([expect.objectContaining({ subscription: "tripped", via: "mail", attempts: 1 })])
})
