import { spawn } from "node:child_process"
import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { associationsApply } from "@signalbox/contracts/approvals/associations"
import { approvalGroupsApply } from "@signalbox/contracts/approvals/groups"
import { approvalRequestsGet, approvalRequestsSubmit } from "@signalbox/contracts/approvals/requests"
import { templatesApply } from "@signalbox/contracts/approvals/templates"
import { keysCreate } from "@signalbox/contracts/identity/operations"
import { operations } from "@signalbox/contracts/operations"
import { ensureServerTls } from "@signalbox/server/http/certificate-authority"
import { MailServer } from "@signalbox/server/services/notifications/mail-server.fixture"
import { systemClock } from "@signalbox/server/system"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { findSystemProgram } from "../../cookbook/cookbook.fixture.ts"
import { TestInstallation } from "../processes.fixture.ts"
import { done } from "./approvals-installation.fixture.ts"
import { namespacesMissing, NetworkNamespace } from "./network-namespace.fixture.ts"

/**
 * One server on three networks: this machine's loopback for administrators, one network with a backend on it, one with a
 * member's phone. Each of the two is a network namespace that is joined to the server and to nothing else.
 */
const missing = namespacesMissing() ?? (findSystemProgram("curl", "curl") ? undefined : "curl is missing")
const timeoutMilliseconds = 300_000
const [membersPort, backendsPort] = [8443, 9443]
const mailServer = new MailServer()
let installation: TestInstallation
let backend: NetworkNamespace
let phone: NetworkNamespace
/** Of the members' listener, which has a certificate that no other listener has. */
let membersCa: string
let ownCa: string
let backendKey: string
let adminUrl: string

interface Answer {
  /** 0 where curl got no answer; then `text` says why. */
  readonly status: number
  readonly text: string
}

async function curl(from: NetworkNamespace, ...words: string[]): Promise<Answer> {
  const [program, rest] = from.command("curl", "-sS", "-m", "30", "-w", "\n%{http_code}", ...words)
  const child = spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"] })
  let [output, said] = ["", ""]
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text))
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text))
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve))
  if (code !== 0) return { status: 0, text: said }
  const at = output.lastIndexOf("\n")
  return { status: Number(output.slice(at + 1)), text: output.slice(0, at) }
}

const membersUrl = (): string => `https://${phone.hostAddress}:${membersPort}`
const backendsUrl = (): string => `https://${backend.hostAddress}:${backendsPort}`

describe.skipIf(missing !== undefined)(
  `A17: three listeners on three networks${missing ? ` (${missing})` : ""}`,
  () => {
    beforeAll(async () => {
      const part = 1 + Math.floor(Math.random() * 250)
      backend = NetworkNamespace.open(`198.18.${part}`)
      phone = NetworkNamespace.open(`198.19.${part}`)
      await mailServer.start()
      installation = await TestInstallation.create()
      const { directory } = installation
      const names = { names: [phone.hostAddress], clock: systemClock }
      const { certPem, keyPem, caPem } = await ensureServerTls({ directory: join(directory, "members tls"), ...names })
      const pem = async (name: string, text: string): Promise<string> => {
        await writeFile(join(directory, name), text)
        return join(directory, name)
      }
      membersCa = await pem("members-ca.pem", caPem)
      const certificate = [
        "--members-certificate",
        await pem("m.pem", certPem),
        "--members-key",
        await pem("m.key", keyPem),
      ]
      const mail = [
        "--smtp-url",
        mailServer.url,
        "--smtp-starttls",
        "never",
        "--smtp-from",
        "Signalbox <s@example.org>",
      ]
      await installation.startServer({
        words: [
          ...["--members-listen", `${phone.hostAddress}:${membersPort}`, ...certificate],
          ...["--backends-listen", `${backend.hostAddress}:${backendsPort}`, ...mail],
        ],
      })
      const admin = await installation.admin()
      adminUrl = admin.url
      ownCa = await pem("own-ca.pem", admin.caPem ?? "")
      await configure()
    }, timeoutMilliseconds)
    afterAll(async () => {
      await installation.remove()
      await mailServer.stop()
      backend.remove()
      phone.remove()
    }, timeoutMilliseconds)

    async function configure(): Promise<void> {
      const { client } = installation
      backendKey = done(await client.call(keysCreate, { name: "shop", roles: ["backend"] })).key
      done(await client.call(approvalGroupsApply, { name: "leads", members: [{ mail: "ada@example.org" }] }))
      const levels = [{ name: "only", group: "leads", strategy: { kind: "any" as const } }]
      done(await client.call(templatesApply, { name: "one", levels }))
      done(await client.call(associationsApply, { name: "one", template: "one", selector: { type: "purchase" } }))
    }

    const submit = (title: string, ...more: string[]): Promise<Answer> => {
      const body = JSON.stringify({ type: "purchase", title, content: { chairs: 200 } })
      const headers = {
        authorization: `Bearer ${backendKey}`,
        "content-type": "application/json",
        "idempotency-key": title,
      }
      const words = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`])
      return curl(
        backend,
        "--cacert",
        ownCa,
        ...words,
        "-d",
        body,
        ...more,
        `${backendsUrl()}${approvalRequestsSubmit.path}`,
      )
    }

    test(
      "a backend asks on its network, a phone says yes on its own, and neither sees the other's",
      async () => {
        const asked = await submit("chairs-for-the-hall")
        expect(asked.status, asked.text).toBe(200)
        const { id } = JSON.parse(asked.text) as { id: string }
        const link = await installation.eventually("the mail", async () => {
          const text = mailServer.mails.map((mail) => mail.text.replaceAll("=\n", "")).join("\n")
          return text.includes(id) && /https:\/\/[^\s"<>?]+\/answers\/[a-z0-9_-]+/.exec(text)?.[0]
        })
        expect(link.startsWith(`${membersUrl()}/answers/`)).toBe(true)
        const page = await curl(phone, "--cacert", membersCa, link)
        expect([page.status, page.text.includes("chairs-for-the-hall")]).toEqual([200, true])
        const pressed = await curl(phone, "--cacert", membersCa, "-d", "choice=approve", "-L", "--post301", link)
        expect([pressed.status, pressed.text.includes("Your answer was recorded: Approved")]).toEqual([200, true])
        expect(await installation.client.call(approvalRequestsGet, { request: id })).toMatchObject({
          state: "approved",
          votes: [{ via: "link", choice: "approve" }],
        })
        expect((await curl(backend, "--cacert", ownCa, link.replace(membersUrl(), backendsUrl()))).status).toBe(404)
      },
      timeoutMilliseconds,
    )

    test(
      "from the members' network nothing but their listener is there, and every operation on it is a 404",
      async () => {
        for (const url of [backendsUrl(), adminUrl])
          expect((await curl(phone, "-k", "--connect-timeout", "5", `${url}/healthz`)).status, url).toBe(0)
        const { key } = await installation.admin()
        const calls = operations.flatMap(({ method, path, name }) => [
          { method, url: `${membersUrl()}${path.replaceAll(/[{}]/g, "")}` },
          { method: "POST", url: `${membersUrl()}/v1/operations/${name}` },
        ])
        const paths = ["/", "/healthz", "/readyz", "/v1/openapi.json", "/v1/ca.pem", "/answers", "/answers/"]
        const all = [...calls, ...paths.map((path) => ({ method: "GET", url: `${membersUrl()}${path}` }))]
        const one = ({ method, url }: { method: string; url: string }): string =>
          [
            `url = "${url}"`,
            `request = "${method}"`,
            `header = "authorization: Bearer ${key}"`,
            'header = "idempotency-key: on-the-members-side"',
            `cacert = "${membersCa}"`,
            'output = "/dev/null"',
            'write-out = "%{http_code} %{url}\\n"',
          ].join("\n")
        const file = join(installation.directory, "calls.txt")
        await writeFile(file, all.map(one).join("\nnext\n"))
        const { text, status } = await curl(phone, "-m", "280", "-K", file)
        const codes = `${text}\n${status || ""}`.split("\n").filter((line) => /^\d{3} http/.test(line))
        expect(codes).toHaveLength(all.length)
        expect(codes.filter((line) => !line.startsWith("404 "))).toEqual([])
      },
      timeoutMilliseconds,
    )

    test(
      "from the backends' network only what backends may call is there",
      async () => {
        for (const url of [membersUrl(), adminUrl])
          expect((await curl(backend, "-k", "--connect-timeout", "5", `${url}/healthz`)).status, url).toBe(0)
        const call = (path: string) =>
          curl(backend, "--cacert", ownCa, "-H", `authorization: Bearer ${backendKey}`, `${backendsUrl()}${path}`)
        expect((await call("/v1/auth/whoami")).status).toBe(200)
        expect((await call("/v1/executions")).status).toBe(404)
        expect((await call("/v1/openapi.json")).status).toBe(404)
      },
      timeoutMilliseconds,
    )

    test(
      "each listener has its own certificate, and none speaks plain HTTP",
      async () => {
        expect((await curl(phone, "--cacert", ownCa, `${membersUrl()}/answers/x`)).text).toContain("certificate")
        expect((await curl(phone, "--cacert", membersCa, `${membersUrl()}/answers/x`)).status).toBe(404)
        expect((await curl(backend, "--cacert", membersCa, `${backendsUrl()}/healthz`)).text).toContain("certificate")
        expect((await curl(backend, "--cacert", ownCa, `${backendsUrl()}/healthz`)).status).toBe(200)
        for (const [from, url] of [
          [phone, membersUrl()],
          [backend, backendsUrl()],
        ] as const)
          expect((await curl(from, url.replace("https:", "http:"))).status).toBe(0)
      },
      timeoutMilliseconds,
    )
  },
)
