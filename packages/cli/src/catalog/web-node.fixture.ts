import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { approvalRequestsApprove } from "@signalbox/contracts/approvals/answers"
import { approvalRequestsGet, approvalRequestsList } from "@signalbox/contracts/approvals/requests"
import { catalogLaunch, instancesGet, instancesList } from "@signalbox/contracts/catalog/instances"
import { keysCreate } from "@signalbox/contracts/identity/operations"
import { serviceAccountsCreate } from "@signalbox/contracts/identity/people"
import type { RoleName } from "@signalbox/contracts/identity/roles"
import { channelsApply } from "@signalbox/contracts/notifications/operations"
import type { CallInputOf, OutputOf } from "@signalbox/contracts/operation"
import { secretsPut } from "@signalbox/contracts/secrets/operations"
import { createClient, type Client } from "@signalbox/sdk/client"
import { freePorts } from "../cookbook/cookbook.fixture.ts"
import { TestInstallation, TestProcess } from "../resilience/processes.fixture.ts"

/**
 * The example `web-node` as its README sets it up: a server with its database, and its two backends as processes of their
 * own; whoever launches and whoever approves have keys of their own.
 */
const example = fileURLToPath(new URL("../../../../examples/web-node/", import.meta.url))
const binaries = fileURLToPath(new URL("../../../../node_modules/.bin", import.meta.url))
const slowMilliseconds = 120_000

type Instance = OutputOf<typeof instancesGet>

export class WebNodeExample {
  readonly installation: TestInstallation
  readonly directory: string
  readonly administratorPort: number
  /** Who launches, and who says yes. */
  readonly lea: Client
  readonly #ada: Client
  readonly #keys: { readonly provisioner: string; readonly administrator: string }
  #backends: TestProcess[] = []

  private constructor(of: {
    readonly installation: TestInstallation
    readonly administratorPort: number
    readonly lea: Client
    readonly ada: Client
    readonly keys: { readonly provisioner: string; readonly administrator: string }
  }) {
    this.installation = of.installation
    this.administratorPort = of.administratorPort
    this.lea = of.lea
    this.#ada = of.ada
    this.#keys = of.keys
    this.directory = join(of.installation.directory, "web nodes")
  }

  static async create(): Promise<WebNodeExample> {
    const installation = await TestInstallation.create()
    try {
      return await WebNodeExample.#setUp(installation)
    } catch (error) {
      await installation.remove()
      throw error
    }
  }

  static async #setUp(installation: TestInstallation): Promise<WebNodeExample> {
    const [administratorPort = 0] = await freePorts(1)
    await installation.startServer({ words: ["--egress-allow", `127.0.0.1:${administratorPort}`] })
    const provisioner = await makeAccount(installation, "web-provisioner", ["backend", "enroller"])
    const administrator = await makeAccount(installation, "web-administrator", ["backend", "operator"])
    const lea = await clientOf(installation, await makeAccount(installation, "lea", ["launcher"]))
    const ada = await clientOf(installation, await makeAccount(installation, "ada", ["approver"]))
    const { client } = installation
    const value = `whsec_${Buffer.alloc(32, "web").toString("base64")}`
    await client.call(secretsPut, { name: "web-administrator", value })
    const url = `http://127.0.0.1:${administratorPort}/results`
    await client.call(channelsApply, {
      ...{ name: "web-administrator", via: "webhook", url },
      signingSecret: "web-administrator",
    })
    await installation.succeed(["login", "--local"])
    await installation.succeed(["apply", "-f", join(example, "catalog.yaml")])
    return new WebNodeExample({ installation, administratorPort, lea, ada, keys: { provisioner, administrator } })
  }

  async startProvisioner(): Promise<TestProcess> {
    return await this.#startBackend("provisioner", { SIGNALBOX_KEY: this.#keys.provisioner, LEASE_SECONDS: "5" })
  }

  async startAdministrator(): Promise<TestProcess> {
    const variables = { SIGNALBOX_KEY: this.#keys.administrator, PORT: String(this.administratorPort) }
    const backend = await this.#startBackend("administrator", variables)
    await this.until("the administrator to listen", () =>
      fetch(`http://127.0.0.1:${this.administratorPort}/`).then(
        () => true,
        () => false,
      ),
    )
    return backend
  }

  async #startBackend(name: string, variables: NodeJS.ProcessEnv): Promise<TestProcess> {
    const { url } = await this.installation.admin()
    const backend = new TestProcess(name, [], {
      program: join(example, `${name}.ts`),
      directory: this.installation.directory,
      environment: {
        PATH: `${binaries}:${process.env["PATH"]}`,
        HOME: this.installation.directory,
        SIGNALBOX_SERVER: url,
        SIGNALBOX_CA_FILE: join(this.installation.data, "tls", "ca.pem"),
        WEB_NODES: this.directory,
        ...variables,
      },
    })
    this.#backends.push(backend)
    return backend
  }

  /** Launches as Lea, who has to wait for somebody's yes; and gives that yes. */
  async launch(input: Omit<CallInputOf<typeof catalogLaunch>, "portfolio" | "product">): Promise<Instance> {
    const reply = await this.lea.call(catalogLaunch, { portfolio: "web", product: "web-node", ...input })
    if (reply.status !== "held") throw new Error("the launch was not held")
    await this.approve()
    return await this.until("the instance to be made", async () => {
      const { items } = await this.lea.call(instancesList, { mine: "true" })
      return items.find(({ name }) => name === input.name)
    })
  }

  /** Approves the one request that is open, as Ada; gives it. */
  async approve(): Promise<OutputOf<typeof approvalRequestsGet>> {
    const open = await this.until("a request to be open", async () => {
      const { items } = await this.#ada.call(approvalRequestsList, { state: "open" })
      return items[0]
    })
    const request = await this.#ada.call(approvalRequestsGet, { request: open.id })
    await this.#ada.call(approvalRequestsApprove, { request: open.id, digest: request.digest })
    return request
  }

  async untilState(instance: string, state: Instance["state"]): Promise<Instance> {
    return await this.until(`${instance} to be ${state}`, async () => {
      const found = await this.lea.call(instancesGet, { instance })
      return found.state === state && found
    })
  }

  async until<T>(what: string, check: () => Promise<T | false | undefined>): Promise<T> {
    try {
      return await this.installation.eventually(what, check, slowMilliseconds)
    } catch (error) {
      throw new Error(this.#backends.map(({ log }) => log).join("\n"), { cause: error })
    }
  }

  async endBackends(): Promise<void> {
    for (const backend of this.#backends) await backend.end("SIGKILL")
    this.#backends = []
  }

  async remove(): Promise<void> {
    await this.endBackends()
    await Promise.all([this.lea.close(), this.#ada.close()])
    // What a provisioner left running outlives it, as it should; the test's folder goes.
    const { WebMachine } = (await import(join(example, "web-machine.ts"))) as {
      WebMachine: new (directory: string) => { list(): Promise<string[]>; remove(instance: string): Promise<void> }
    }
    const machine = new WebMachine(this.directory)
    for (const instance of await machine.list()) await machine.remove(instance)
    await this.installation.remove()
  }
}

async function makeAccount({ client }: TestInstallation, name: string, roles: readonly RoleName[]): Promise<string> {
  const account = await client.call(serviceAccountsCreate, { name, roles: [...roles] as never })
  if (account.status === "held") throw new Error("held")
  const key = await client.call(keysCreate, { name, roles: [...roles] as never, owner: account.value.id })
  if (key.status === "held") throw new Error("held")
  return key.value.key
}

async function clientOf(installation: TestInstallation, key: string): Promise<Client> {
  const { url, caPem } = await installation.admin()
  return createClient({ url, key, ...(caPem === undefined ? {} : { caPem }) })
}
