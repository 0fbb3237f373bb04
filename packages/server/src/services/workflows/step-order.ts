/** A step of an order: what the node has to do, kind by kind. Pure. */
import {
  agentLimits,
  type FileOrder,
  type PlaybookOrder,
  type StepOrder,
  type Text,
  type WaitOrder,
} from "@signalbox/contracts/fleet/agent-protocol"
import type { WorkflowDocument } from "@signalbox/contracts/workflows/document"
import {
  bytesOf,
  getStepKind,
  type CommandText,
  type FileChange,
  type Playbook,
  type StepUndo,
  type WaitFor,
  type WorkflowStep,
} from "@signalbox/contracts/workflows/steps"
import { AppError } from "@signalbox/kernel/app-error"
import { assert } from "@signalbox/kernel/assert"
import { getDuration } from "@signalbox/kernel/duration"
import { approvalWaitOf } from "./approval-ask.ts"
import { isCommand } from "./document-texts.ts"
import {
  commandFiller,
  fixedFiller,
  lateVariables,
  pathFiller,
  recordFiller,
  textFiller,
  type Fill,
} from "./order-texts.ts"
import { variableOf, type KnownReference } from "./template.ts"

export type FrozenArtifact = NonNullable<FileOrder["artifact"]>

export interface StepPlace {
  readonly document: WorkflowDocument
  readonly step: WorkflowStep
  readonly index: number
  /** Variables that every step of every node gets. */
  readonly shared: Readonly<Record<string, string>>
  readonly tagKeys: readonly string[]
  readonly artifacts: Readonly<Record<string, FrozenArtifact>> | undefined
}

export function stepFiller(place: StepPlace): Fill<StepOrder> {
  const { step, shared, tagKeys } = place
  const fixed = fixedMembers(place)
  const kind = kindFiller(place)
  const undo = undoFiller(step.undo)
  const directory = step.directory === undefined ? undefined : pathFiller(step.directory)
  const own = recordFiller(step.env ?? {})
  const ofNode = nodeEnvironmentFiller(tagKeys)
  const late = { ...lateVariables(step.run), ...lateVariables(isCommand(step.undo) ? step.undo : undefined) }
  return (valueOf) => ({
    ...fixed,
    ...kind(valueOf),
    ...(undo && { undo: undo(valueOf) }),
    ...(directory && { directory: directory(valueOf) }),
    environment: { ...shared, ...ofNode(valueOf), ...late, ...own(valueOf) },
  })
}

/** What is the same for every node. Members that a step doesn't need are left out, for agents that don't know them. */
function fixedMembers({ document, step, index }: StepPlace) {
  const { retry } = step
  return {
    name: step.name ?? `step ${index + 1}`,
    timeoutMilliseconds: approvalWaitOf(step) || Math.max(1, getDuration(step.timeout ?? document.timeout)),
    outputKeptBytes: step.outputLimit === undefined ? agentLimits.outputKeptBytesDefault : bytesOf(step.outputLimit),
    attemptsMax: retry?.attempts ?? 1,
    retryDelayMilliseconds: getDuration(retry?.delay ?? "0s"),
    ...(retry && retry.backoff !== 1
      ? { retryBackoff: retry.backoff, retryDelayMillisecondsMax: getDuration(retry.delayMax) }
      : {}),
    ...(retry && retry.jitter > 0 ? { retryJitter: retry.jitter } : {}),
    ...(step.user === undefined ? {} : { user: step.user }),
    ...(step.id === undefined ? {} : { id: step.id }),
    ...(step.when === undefined ? {} : { when: step.when }),
    ...(step.outputs === undefined ? {} : { outputs: step.outputs }),
    ...(step.onFailure === "continue" ? { continueOnFailure: true as const } : {}),
  }
}

type KindMember = Pick<StepOrder, "command" | "file" | "service" | "wait" | "playbook" | "server">

function kindFiller({ step, artifacts }: StepPlace): Fill<KindMember> {
  switch (getStepKind(step)) {
    case "run":
      return commandMember(step.run)
    case "file":
      return fileFiller(step.file, artifacts)
    case "service": {
      const { service } = step
      assert(service, "a service step has its service")
      const name = fixedFiller(service.name)
      return (valueOf) => ({ service: { ...given(service), name: name(valueOf) } })
    }
    case "wait": {
      const wait = waitFiller(step.wait)
      return (valueOf) => ({ wait: wait(valueOf) })
    }
    case "playbook": {
      assert(step.playbook, "a playbook step has its playbook")
      const playbook = playbookFiller(step.playbook)
      return (valueOf) => ({ playbook: playbook(valueOf) })
    }
    case "http":
      return () => ({ server: "http" })
    case "operation":
      return () => ({ server: "operation" })
    case "approval":
      return () => ({ server: "approval" })
  }
}

function commandMember(run: CommandText | undefined): Fill<KindMember> {
  assert(run !== undefined, "a run step has its command")
  const command = commandFiller(run)
  return (valueOf) => ({ command: command(valueOf) })
}

function fileFiller(file: FileChange | undefined, artifacts: StepPlace["artifacts"]): Fill<KindMember> {
  assert(file, "a file step has its file")
  const path = pathFiller(file.path)
  const content = contentFiller(file)
  const { absent, directory, owner, group } = file
  const fixed = {
    ...given({ absent, directory, owner, group }),
    ...(file.mode === undefined ? {} : { mode: Number.parseInt(file.mode, 8) }),
    ...(file.artifact === undefined ? {} : { artifact: artifactOf(file.artifact, artifacts) }),
  }
  return (valueOf) => ({
    file: { ...fixed, path: path(valueOf), ...(content && { content: content(valueOf) }) },
  })
}

function contentFiller({ content, literal }: FileChange): Fill<Text> | undefined {
  if (content === undefined) return undefined
  return literal ? () => content : textFiller(content)
}

function artifactOf(name: string, artifacts: StepPlace["artifacts"]): FrozenArtifact {
  // A plan whose artifacts are not looked up yet is checked with what any artifact would look like.
  if (artifacts === undefined) return { digest: "0".repeat(64), bytes: 0, path: "/" }
  const found = artifacts[name]
  if (found === undefined) throw new AppError("workflows.invalid-template", `there is no artifact "${name}"`)
  return found
}

function waitFiller(wait: WaitFor | undefined): Fill<WaitOrder> {
  assert(wait !== undefined, "a wait step has what it waits for")
  if (typeof wait === "string") return () => ({ milliseconds: getDuration(wait) })
  if ("path" in wait) {
    const path = pathFiller(wait.path)
    return (valueOf) => ({ path: path(valueOf) })
  }
  const port = textFiller(String(wait.port))
  const host = fixedFiller(wait.host)
  return (valueOf) => ({ port: port(valueOf), host: host(valueOf) })
}

function playbookFiller({ path, content, variables, tags }: Playbook): Fill<PlaybookOrder> {
  const texts = Object.entries(variables).filter((entry): entry is [string, string] => typeof entry[1] === "string")
  const values = Object.fromEntries(Object.entries(variables).filter(([, value]) => typeof value !== "string"))
  const fillPath = path === undefined ? undefined : pathFiller(path)
  const fillTexts = recordFiller(Object.fromEntries(texts))
  return (valueOf) => ({
    ...(fillPath && { path: fillPath(valueOf) }),
    ...(content === undefined ? {} : { content }),
    variables: { ...values, ...fillTexts(valueOf) },
    tags: tags ?? [],
  })
}

function undoFiller(undo: StepUndo | undefined): Fill<NonNullable<StepOrder["undo"]>> | undefined {
  if (undo === undefined) return undefined
  if (isCommand(undo)) return commandFiller(undo)
  if ("http" in undo) return () => ({ server: "http" })
  if ("operation" in undo) return () => ({ server: "operation" })
  const playbook = playbookFiller(undo.playbook)
  return (valueOf) => ({ playbook: playbook(valueOf) })
}

function nodeEnvironmentFiller(tagKeys: readonly string[]): Fill<Record<string, string>> {
  const references: KnownReference[] = [
    { kind: "node", field: "id" },
    { kind: "node", field: "name" },
    ...tagKeys.map((key) => ({ kind: "tag", key }) as const),
  ]
  const variables = references.map((reference) => [variableOf(reference), reference] as const)
  return (valueOf) => {
    const environment: Record<string, string> = {}
    for (const [variable, reference] of variables) environment[variable] = valueOf(reference)
    return environment
  }
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> }

function given<T extends object>(record: T): Given<T> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Given<T>
}
