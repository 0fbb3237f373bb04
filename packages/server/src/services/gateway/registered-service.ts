import { gatewayLimits } from "@signalbox/contracts/gateway/operations"
import type { Clock } from "@signalbox/kernel/clock"
import { getDuration } from "@signalbox/kernel/duration"
import type { Egress } from "../../egress/egress.ts"
import type {
  ExternalMatch,
  ExternalOperation,
  ExternalReply,
  ExternalRequest,
  ExternalService,
  HeaderPair,
} from "../../router/external-ports.ts"
import type { SecretReader } from "../../router/ports.ts"
import type { ApiDocument } from "./api-document.ts"
import { apiOf, operationsOf } from "./external-operation.ts"
import { KeptCredentials } from "./kept-credentials.ts"
import { makePathTree, type PathTree } from "./path-tree.ts"
import { sendCall } from "./send-call.ts"
import type { ServiceRow, ServiceSpec } from "./store.ts"
import { ServiceUpstream, Target } from "./upstream.ts"

/** A service as this server knows it: what its row says, ready to be called. Never changed; a newer row makes a new one. */
export class RegisteredService implements ExternalService {
  readonly row: ServiceRow
  readonly api: ApiDocument
  readonly upstream: ServiceUpstream
  readonly operations: ReadonlyMap<string, ExternalOperation>
  readonly timeouts: ExternalService["timeouts"]
  readonly #paths: PathTree<ExternalOperation>
  readonly #credentials: KeptCredentials | undefined

  constructor(
    row: ServiceRow,
    parts: { readonly egress: Egress; readonly secrets: SecretReader; readonly clock: Clock },
  ) {
    const { spec, account, name } = row
    this.row = row
    this.api = apiOf(row)
    const operations = operationsOf(row, this.api)
    this.upstream = new ServiceUpstream(name, targetsOf(spec, parts.egress), spec.balance)
    this.operations = new Map(operations.map((operation) => [operation.name, operation]))
    this.#paths = makePathTree(operations.map((value) => ({ method: value.method, path: value.path, value })))
    const { headers, idle, total } = spec.timeouts
    this.timeouts = {
      headers: getDuration(headers),
      idle: getDuration(idle),
      total: total === undefined ? 0 : getDuration(total),
    }
    this.#credentials = spec.credentials && new KeptCredentials({ ...parts, account, credentials: spec.credentials })
  }

  get account(): string {
    return this.row.account
  }
  get name(): string {
    return this.row.name
  }
  get version(): number {
    return this.row.version
  }
  get retries(): number {
    return this.row.spec.retries
  }
  get forwardAuthorization(): boolean {
    return this.row.spec.forwardAuthorization
  }

  match(method: string, path: string): ExternalMatch {
    const found = this.#paths.find(path)
    // A document seldom says HEAD: it is the GET without its body.
    const operation = found?.methods.get(method) ?? (method === "HEAD" ? found?.methods.get("GET") : undefined)
    if (found && operation) return { kind: "found", operation, values: found.values }
    return { kind: "unknown", methods: [...(found?.methods.keys() ?? [])] }
  }

  credentials(): HeaderPair | Promise<HeaderPair> | undefined {
    return this.#credentials?.get()
  }

  send(request: ExternalRequest, as: Parameters<ExternalService["send"]>[1]): Promise<ExternalReply> {
    return sendCall(this, request, as)
  }

  /** Takes no more calls; resolves once those under way have ended. */
  async retire(): Promise<void> {
    await Promise.all(this.upstream.targets.map((target) => target.pool.close()))
  }

  async destroy(): Promise<void> {
    await Promise.all(this.upstream.targets.map((target) => target.pool.destroy()))
  }
}

function targetsOf(spec: ServiceSpec, egress: Egress): Target[] {
  return spec.upstreams.map(
    ({ url, weight }) =>
      new Target({
        ...{ url, weight },
        pool: egress.openPool(url, {
          connectMilliseconds: getDuration(spec.timeouts.connect),
          connectionsMax: gatewayLimits.connectionsMax,
        }),
        failuresMax: spec.breaker.failures,
        openMilliseconds: getDuration(spec.breaker.openFor),
      }),
  )
}
