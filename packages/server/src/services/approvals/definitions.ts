import type { associationFields } from "@signalbox/contracts/approvals/associations"
import type { memberRule } from "@signalbox/contracts/approvals/groups"
import type { templatesApply } from "@signalbox/contracts/approvals/templates"
import type { InputOf } from "@signalbox/contracts/operation"
import type { z } from "zod"

/** What administrators wrote, as it is kept: the operations' inputs with durations written one way. */
export type TemplateDefinition = Omit<InputOf<typeof templatesApply>, "name">
export type LevelDefinition = TemplateDefinition["levels"][number]
export type MemberDefinition = z.output<typeof memberRule>

export interface AssociationDefinition {
  readonly description: string | null
  readonly template: string
  /** By level name. */
  readonly groups: Readonly<Record<string, string>>
  readonly selector: z.output<typeof associationFields.selector>
  readonly bind: "targets" | "query"
}

/** Somebody, by the key under which seats, votes and waits know them. */
export interface PersonRef {
  readonly key: string
  readonly name?: string
}
