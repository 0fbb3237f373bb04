import { createHash } from "node:crypto"
import { open } from "node:fs/promises"
import { homedir } from "node:os"
import { join, relative } from "node:path"
import type { ApprovalTrust } from "@signalbox/contracts/approvals/signed-votes"
import type { TaskOrder } from "@signalbox/contracts/fleet/agent-protocol"
import { AppError, type Issue } from "@signalbox/kernel/app-error"
import { canonicalJson } from "@signalbox/kernel/canonical-json"
import {
  type AgentPolicy,
  agentPolicy,
  decide,
  decideProbe,
  judgePath,
  pathsOf,
  type PolicyFacts,
  type PolicyRefusal,
} from "./agent-policy.ts"
import { errorText } from "./agent-logger.ts"
import type { ApprovalGuard, OrderToJudge, ProbeToJudge } from "./approval-guard.ts"
import { ownUser } from "./process-owner.ts"
import { resolveInRoot } from "./root-path.ts"

const policyBytesMax = 256 * 1024

const facts: PolicyFacts = {
  agentUser: ownUser().name,
  digest: (text) => createHash("sha256").update(text).digest("hex"),
}

/** Where a policy is looked for that no option names. */
export function defaultPolicyFile(): string {
  if (process.geteuid?.() === 0) return "/etc/signalbox-agent/policy.yaml"
  return join(process.env["XDG_CONFIG_HOME"] || join(homedir(), ".config"), "signalbox-agent", "policy.yaml")
}

/** Of a policy's content, whatever its comments and layout: `sha256:` and 64 digits. */
export function policyDigest(policy: AgentPolicy): string {
  return `sha256:${facts.digest(canonicalJson(policy))}`
}

/**
 * Reads and checks a policy. A file that others than its owner may change counts as damaged, as one that can't be read.
 *
 * @throws agent.policy-damaged with the issues; `details.missing` where there is no such file
 */
export async function readPolicy(path: string): Promise<AgentPolicy> {
  const value = await readYaml(path)
  const parsed = agentPolicy.safeParse(value ?? {})
  if (parsed.success) return parsed.data
  const issues = parsed.error.issues.slice(0, 20).map(toIssue)
  const summary = issues.map((issue) => `${issue.path === "" ? "" : `${issue.path}: `}${issue.message}`).join("; ")
  throw new AppError("agent.policy-damaged", `the policy ${path} is not understood: ${summary}`, { issues })
}

function toIssue(issue: { readonly path: readonly PropertyKey[]; readonly message: string }): Issue {
  return { path: issue.path.map(String).join("."), message: issue.message }
}

async function readYaml(path: string): Promise<unknown> {
  let text: string
  try {
    const file = await open(path, "r")
    try {
      const { mode, size } = await file.stat()
      if ((mode & 0o022) !== 0) throw new Error("its group or others may write to it; chmod go-w")
      if (size > policyBytesMax) throw new Error(`it has over ${policyBytesMax} bytes`)
      text = await file.readFile("utf8")
    } finally {
      await file.close()
    }
    // Loaded by those alone that have a policy.
    const { parse } = await import("yaml")
    return parse(text, { maxAliasCount: 0 })
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === "ENOENT"
    const message = `the policy ${path} can't be read: ${missing ? "there is no such file" : errorText(cause)}`
    throw new AppError("agent.policy-damaged", message, { cause, details: { missing } })
  }
}

/** Why an order is not carried out: `unapproved` where it lacks a valid approval. */
export interface OrderRefusal {
  readonly class: "refused" | "unapproved"
  readonly message: string
}

/** What the inventory says of it. */
export interface PolicyState {
  readonly state: "none" | "in-force" | "damaged"
  readonly digest?: string
}

/**
 * The policy as it is on disk at each order: a change holds from the next one on. Fails closed: a policy that can't be
 * read refuses everything, and so does one that was there before and is missing now.
 */
export class PolicyGuard {
  readonly #path: string
  /** True where a file has to be there. */
  #required: boolean

  readonly #approvals: () => Promise<ApprovalGuard>

  /**
   * @param path given by the owner; undefined: the usual place, where a policy may be or not
   * @param approvals asked for only where the policy wants approvals
   */
  constructor(path: string | undefined, approvals: () => Promise<ApprovalGuard>) {
    this.#path = path ?? defaultPolicyFile()
    this.#required = path !== undefined
    this.#approvals = approvals
  }

  async state(): Promise<PolicyState> {
    try {
      const policy = await this.#read()
      return policy ? { state: "in-force", digest: policyDigest(policy) } : { state: "none" }
    } catch {
      return { state: "damaged" }
    }
  }

  /** Why an order is refused; undefined where nothing speaks against it. Never throws. */
  async refuses(judged: OrderToJudge, root: string): Promise<OrderRefusal | undefined> {
    const { order } = judged
    return await this.#judge({
      rules: async (policy) => decide(policy, order, facts) ?? (await judgeLinks(policy, order, root)),
      approval: async (trust, approvals) => await approvals.refuses(trust, judged),
    })
  }

  /** As `refuses`, for a health check's command. */
  async refusesProbe(probe: ProbeToJudge & { timeoutMilliseconds: number }): Promise<OrderRefusal | undefined> {
    return await this.#judge({
      rules: (policy) => Promise.resolve(decideProbe(policy, probe, facts)),
      approval: async (trust, approvals) => await approvals.refusesProbe(trust, probe),
    })
  }

  /** What the policy says by itself first: that asks nobody. */
  async #judge(judge: {
    readonly rules: (policy: AgentPolicy) => Promise<PolicyRefusal | undefined>
    readonly approval: (trust: ApprovalTrust, approvals: ApprovalGuard) => Promise<string | undefined>
  }): Promise<OrderRefusal | undefined> {
    try {
      const policy = await this.#read()
      if (!policy) return undefined
      const refusal = await judge.rules(policy)
      if (refusal)
        return { class: "refused", message: `the local policy refuses it (${refusal.rule}): ${refusal.message}` }
      const why = policy.approvals && (await judge.approval(policy.approvals, await this.#approvals()))
      return why === undefined
        ? undefined
        : { class: "unapproved", message: `the local policy refuses it (approvals): ${why}` }
    } catch (error) {
      return { class: "refused", message: `this node refuses every order: ${errorText(error)}` }
    }
  }

  async #read(): Promise<AgentPolicy | undefined> {
    try {
      const policy = await readPolicy(this.#path)
      this.#required = true
      return policy
    } catch (error) {
      if (!this.#required && (error as AppError).details["missing"] === true) return undefined
      throw error
    }
  }
}

/** An allowed folder may hold a link that leads out of what is allowed. */
async function judgeLinks(policy: AgentPolicy, order: TaskOrder, root: string): Promise<PolicyRefusal | undefined> {
  if (!policy.paths) return undefined
  for (const path of pathsOf(order)) {
    const resolved = await resolveInRoot(root, path)
    const refusal = judgePath(policy, relative(root, resolved))
    if (refusal) return refusal
  }
  return undefined
}
